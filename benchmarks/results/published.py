"""Numbers that others printed, as they printed them (percentages as shares), with where each was read.

They stand beside our table for orientation and are never mixed into it: every source has its own
nets, budgets, sample sizes and, for DCI, its own regressor.
"""

from dataclasses import dataclass

ENCDIFF = "Yang et al., EncDiff, NeurIPS 2024, table 1"
CFASL = "README of CFASL's repository"
BAYES_QLAE = "Bayes-QLAE, ICLR 2026 (openreview GVOLiaENgU), read in a second-hand note"
DICTIONARY = "Diverse Dictionary Learning, ICLR 2026 (openreview lP4RsdfF6y)"
OAT = "OAT, DOT-VAE's predecessor, table 1"

# What each source says of its protocol.
NOTES = {
    ENCDIFF: "15 runs; 20 latents, vector codes reduced to scalars by PCA; DCI probably by boosted trees.",
    CFASL: "10 seeds, 300,000 steps (500,000 on 3D Shapes), 10 latents (6 on 3D Shapes), scores like "
           "disentanglement_lib's; how the hyper-parameters were picked is not stated.",
    BAYES_QLAE: "5 seeds. The paper itself was not read.",
    DICTIONARY: "each backbone without and with a sparse dependency (Jacobian L1).",
    OAT: "DCI by Lasso, not by boosted trees: not comparable with any other DCI here. Its rows of InfoGAN and "
         "FactorVAE seem to be copied from InfoGAN-CR.",
}


@dataclass(frozen=True)
class Row:
    """One method in one source: scores by the names of our columns, each (mean, spread or None)."""

    source: str
    method: str
    scores: dict[str, tuple[float, float | None]]
    digits: int  # printed after the point


def _rows(source: str, columns: str, *lines: tuple, digits: int = 3) -> tuple[Row, ...]:
    """Lines of (method, value, ...), a value being a mean, (mean, spread) or None, under `columns`."""
    names = columns.split(", ")
    return tuple(
        Row(source, method, {
            name: value if isinstance(value, tuple) else (value, None)
            for name, value in zip(names, values, strict=True) if value is not None
        }, digits)
        for method, *values in lines
    )


PUBLISHED: dict[str, tuple[Row, ...]] = {
    "dsprites": (
        *_rows(
            CFASL, "FactorVAE, MIG, SAP, DCI D",
            ("β-VAE", (.735, .065), (.132, .045), .057, (.215, .063)),
            ("β-TCVAE", (.792, .059), (.240, .101), .072, (.353, .091)),
            ("Control-VAE", (.696, .077), (.059, .028), .039, (.124, .050)),
            ("CLG-VAE", (.823, .056), (.230, .061), .071, (.312, .053)),
            ("CFASL", (.823, .056), (.336, .082), .073, (.465, .062)),
        ),
        *_rows(
            OAT, "FactorVAE, MIG, DCI D",
            ("VAE", (.63, .06), .10, (.30, .10)),
            ("β-VAE", (.63, .10), .21, (.41, .11)),
            ("FactorVAE", (.82, .01), (.43, .01), (.74, .01)),
            ("β-TCVAE", (.62, .07), .45, (.29, .01)),
            ("InfoGAN", (.82, .01), (.22, .01), (.60, .02)),
            ("InfoGAN-CR", (.88, .01), (.37, .01), (.71, .01)),
            ("OAT", (.72, .11), (.27, .13), (.78, .01)), digits=2,
        ),
    ),
    "shapes3d": (
        *_rows(
            ENCDIFF, "FactorVAE, DCI D",
            ("FactorVAE", (.840, .066), (.611, .082)),
            ("β-TCVAE", (.873, .074), (.613, .114)),
            ("InfoGAN-CR", (.587, .058), (.478, .055)),
            ("LD", (.805, .064), (.380, .062)),
            ("GANspace", (.788, .091), (.284, .034)),
            ("DisCo", (.877, .031), (.708, .048)),
            ("DisDiff", (.902, .043), (.723, .013)),
            ("EncDiff", (.999, .000), (.969, .030)),
        ),
        *_rows(
            CFASL, "FactorVAE, MIG, SAP, DCI D",
            ("β-VAE", (.795, .070), (.520, .139), .085, (.637, .079)),
            ("β-TCVAE", (.786, .030), (.617, .009), .061, (.665, .011)),
            ("Control-VAE", (.708, .183), (.365, .233), .057, (.480, .186)),
            ("CLG-VAE", (.746, .111), (.471, .186), .056, (.582, .114)),
            ("CFASL", (.826, .040), (.556, .047), .073, (.623, .039)),
        ),
        *_rows(
            BAYES_QLAE, "Info M, Info C, Info E, DCI D, DCI C, DCI I",
            ("β-VAE", .62, .44, .93, .58, .42, .97),
            ("β-TCVAE", .65, .56, .91, .56, .46, .95),
            ("BioAE", .58, .42, .90, .48, .39, .91),
            ("QLAE", .84, .49, .97, .79, .56, .97),
            ("Tripod", .91, .58, .96, .80, .63, .97),
            ("Bayes-QLAE", .91, .61, .95, .84, .65, .97), digits=2,
        ),
        *_rows(
            DICTIONARY, "FactorVAE, DCI D",
            ("FactorVAE", None, (.484, .120)),
            ("FactorVAE, sparse", None, (.575, .032)),
            ("EncDiff", None, (.901, .050)),
            ("EncDiff, sparse", 1.000, (.947, .005)),
            ("DisCo", None, (.710, .020)),
            ("DisCo, sparse", None, (.712, .018)),
        ),
    ),
}
