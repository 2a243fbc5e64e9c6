"""The stored numbers as a page of Markdown."""

from statistics import mean, pstdev

from benchmarks.isometry.work import CURVED, DISTILLED, NETS, VARIED
from engine.isometry import SCORES
from engine.manifolds import names

ISOMETRY = "patch agreement"    # the score shown beside the MCC
HOLDS = 0.95                    # its value for true factors above which the theory's condition counts as met
FOUND = 0.9                     # the MCC below which a plain autoencoder has left something to find
DRAWS = 100                     # of a variant, at most
SPECTRAL = "PCA", "PCA + ICA", "HLLE", "HLLE + ICA"


def report(entries: dict[str, dict]) -> str:
    """The page, of whatever has been measured so far."""
    return "\n\n".join(part for part in (HEAD, targets(entries), spectral(entries), nets(entries),
                                         variants(entries), eight(entries), scores(entries), timing(entries))
                       if part) + "\n"


HEAD = f"""# Local isometry: when are the factors found?

Written by `python -m benchmarks.isometry`. MCC is the mean correlation of factors and their best matches, 1 at
best. HLLE is Hessian eigenmaps (`engine/hessian_lle.py`), LI-AE the autoencoder with the neighbour-distance
term (`engine/methods/isometric.py`). The isometry scores are ours (`engine/isometry.py`); they need no labels
and are 1 for an isometry; where the patch agreement of the true factors is {HOLDS} or more, we say that the
isometry holds. `drawn-*` are decoded by our models, the others rendered. All nets are those of the
other tables, with as many latents as there are factors."""


NARROW = """IRMAE's authors give it a wide code whose rank falls in training. Here its code has as many numbers as there
are factors, as all nets of this table, and none to spare: with each rank that is lost a factor goes."""
WIDE = """"IRMAE, wide" has 32, and as many principal components are kept as there are factors."""
TO_RUN = """"IRMAE, wide" has 32; it was not run yet."""


def targets(entries: dict[str, dict]) -> str:
    """The figures that were to be reached, and what was."""
    flat = [_mcc(entries, name) for name in names() if _dimension(entries, name) == 2]
    gains = [_of(entries, f"{name}/LI-AE") - _of(entries, f"{name}/AE") for name in names()
             if f"{name}/LI-AE" in entries and f"{name}/AE" in entries]
    gaussian = [_mcc(entries, name, f"/gaussian/{k}") for name in VARIED for k in range(DRAWS)
                if f"{name}/spectral/gaussian/{k}" in entries and _isometric(entries, name)]
    loss = [_mcc(entries, name) - _of(entries, f"{name}/{DISTILLED}", "MCC unseen") for name in names()
            if f"{name}/{DISTILLED}" in entries and f"{name}/spectral" in entries]
    eight = "drawn-faces-8d/spectral"
    rows = []
    if flat:
        rows.append(("HLLE + ICA, mean MCC of the two-dimensional manifolds", ".97", f"{mean(flat):.3f}"))
    if gains:
        rows.append(("LI-AE minus plain AE, both after ICA, mean of all manifolds", ".25", f"{mean(gains):.3f}"))
    if gaussian:
        rows.append(("Gaussian factors, mean MCC where the isometry holds", "below .85", f"{mean(gaussian):.3f}"))
    if eight in entries:
        found = entries[eight]["MCC"]
        rows.append(("eight dimensions, HLLE + ICA minus PCA + ICA", ".2",
                     f"{found['HLLE + ICA'] - found['PCA + ICA']:.3f}"))
    if "timing" in entries:
        count, seconds = entries["timing"]["made with"]["pictures"], entries["timing"]["seconds"]
        rows += [(f"{name}, {count:,} images", "5 s" if "HLLE" in name else "", f"{value:.2f} s")
                 for name, value in seconds.items()]
    if loss:
        rows.append(("embedded images' MCC minus that of unseen ones through the net, largest", "below .01",
                     f"{max(loss):.3f}"))
    return _table(("what", "at least", "measured"), rows)


def spectral(entries: dict[str, dict]) -> str:
    """PCA and HLLE on every manifold."""
    rows = []
    for name in names():
        entry = entries.get(f"{name}/spectral")
        if entry:
            rows.append((name, entry["dimension"], entry["estimated dimension"],
                         *(f"{entry['MCC'][code]:.3f}" for code in SPECTRAL),
                         f"{entry['isometry']['factors'][ISOMETRY]:.2f}",
                         f"{entry['isometry']['HLLE + ICA'][ISOMETRY]:.2f}", f"{entry['gap']:.1f}"))
    return "## Without a net\n\n" + _table(
        ("manifold", "factors", "estimated", *SPECTRAL, "isometry of the factors", "of HLLE + ICA", "eigenvalue gap"),
        rows) if rows else ""


def nets(entries: dict[str, dict]) -> str:
    """Every net after ICA, mean and standard deviation over seeds."""
    shown = [net for net in NETS if any(f"{name}/{net}" in entries for name in names())]
    rows = []
    for name in names():
        if any(f"{name}/{net}" in entries for net in shown):
            rows.append((name, *(_spread(entries, f"{name}/{net}") for net in shown)))
    whole = [net for net in shown if all(f"{name}/{net}" in entries for name in names())]
    if whole:
        everywhere = {net: f"{mean(_of(entries, f'{name}/{net}') for name in names()):.3f}" for net in whole}
        rows.append(("mean of all", *(everywhere.get(net, "") for net in shown)))
    parts = ["## Nets: MCC after ICA", _table(("manifold", *shown), rows), gain(entries),
             f"{NARROW} {WIDE if 'IRMAE, wide' in shown else TO_RUN}" if "IRMAE" in shown else ""]
    return "\n\n".join(part for part in parts if part) if rows else ""


def gain(entries: dict[str, dict]) -> str:
    """What the isometry term adds to an autoencoder, and how much there was to add."""
    both = [name for name in names() if f"{name}/LI-AE" in entries and f"{name}/AE" in entries]
    if not both:
        return ""
    plain = {name: _of(entries, f"{name}/AE") for name in both}
    hard = [name for name in both if plain[name] < FOUND]
    added = {name: _of(entries, f"{name}/LI-AE") - plain[name] for name in both}
    text = (f"A plain autoencoder with ICA has {mean(plain.values()):.3f} on average, so that no method could add more "
            f"than {1 - mean(plain.values()):.3f}; the isometry term adds {mean(added.values()):.3f}.")
    if hard:
        easy = [name for name in both if name not in hard]
        text += (f" On the {len(hard)} of {len(both)} manifolds where the plain one is below {FOUND} it adds "
                 f"{mean(added[name] for name in hard):.3f}")
        text += f", on the others {mean(added[name] for name in easy):.3f}." if easy else "."
    return text


def variants(entries: dict[str, dict]) -> str:
    """What Gaussian factors and a broken isometry do."""
    rows = []
    for name in VARIED:
        row = [name]
        for kind in ("gaussian", "warped"):
            values = [_mcc(entries, name, f"/{kind}/{k}") for k in range(DRAWS)
                      if f"{name}/spectral/{kind}/{k}" in entries]
            row.append(", ".join(f"{value:.3f}" for value in values))
        if any(row[1:]):
            rows.append((*row[:1], f"{_mcc(entries, name):.3f}" if f"{name}/spectral" in entries else "", *row[1:]))
    return """## What the theory needs

HLLE + ICA with Gaussian factors, and with a plane of factors that is warped before it is rendered; each for
several draws of the pictures. Where no rotation is better than another, chance gives two factors an MCC of 0.90 on
average, between 0.71 and 1, and the less the more factors there are. Where Gaussian factors are found all the same,
the pictures are no isometry of them: what is bent is Gaussian no more, and tells the axes apart.

""" + _table(("manifold", "as it is", "Gaussian", "isometry broken"), rows) if rows else ""


def eight(entries: dict[str, dict]) -> str:
    """What is in the way of eight dimensions, and what is not."""
    found = {d: entries[f"arcs/{d}"] for d in CURVED if f"arcs/{d}" in entries}
    four, whole = (entries.get(f"drawn-faces-{d}d/spectral") for d in (4, 8))
    if len(found) < len(CURVED) or not four or not whole:
        return ""
    rows = [(d, f"{e['made with']['points']:,}", e["neighbours"], f"{e['span']:.2f}", f"{e['gap']:,.1f}",
             e["estimated dimension"], f"{e['MCC']:.3f}") for d, e in found.items()]
    head = ("dimensions", "points", "neighbours", "a neighbourhood spans", "eigenvalue gap", "estimated", "MCC")
    agreement = {4: four["isometry"]["factors"][ISOMETRY], 8: whole["isometry"]["factors"][ISOMETRY]}
    return f"""## What is in the way of eight dimensions

Uniform factors, each on a half circle of its own: an exact local isometry that is not flat, of as many points as
there are pictures, through HLLE + ICA. What a neighbourhood spans is the mean share of a factor's range between the
ends of the neighbours by which a Hessian is estimated.

{_table(head, rows)}

So it is not the dimension, and not the number of pictures alone. But in eight dimensions a neighbourhood spans
{found[8]['span']:.0%} of every factor's range, in two {found[2]['span']:.0%}, and over so much an isometry has to hold.
It does not: the pictures agree with one in patches by {agreement[8]:.2f} along eight directions of the decoder, by
{agreement[4]:.2f} along the first four, and the eigenvalue after those of the coordinates is {whole['gap']:.1f}
times as large as theirs, where it is {four['gap']:.1f} times for four. Of eight dimensions
{whole['estimated dimension']} are seen."""


def scores(entries: dict[str, dict]) -> str:
    """All three isometry scores, mean over manifolds."""
    found: dict[str, list[dict]] = {}
    for name in names():
        for code, value in entries.get(f"{name}/spectral", {}).get("isometry", {}).items():
            found.setdefault(code, []).append(value)
        for net in NETS:
            for seed in entries.get(f"{name}/{net}", {}).get("seeds", ()):
                found.setdefault(net, []).append(seed["isometry"])
    rows = [(code, *(f"{mean(v[score] for v in found[code]):.2f}" for score in SCORES))
            for code in ("factors", *SPECTRAL, *NETS) if code in found]
    return "## Isometry, mean over manifolds\n\n" + _table(("codes", *SCORES), rows) if rows else ""


def timing(entries: dict[str, dict]) -> str:
    """Seconds beside scikit-learn's."""
    if "timing" not in entries:
        return ""
    entry = entries["timing"]
    rows = [(name, f"{seconds:.2f}", f"{entry['MCC after ICA'][name]:.4f}" if name in entry["MCC after ICA"] else "")
            for name, seconds in entry["seconds"].items()]
    count, threads = entry["made with"]["pictures"], entry["threads"]
    return (f"## Time\n\n{count:,} pictures of a spot, {threads} threads, one run.\n\n"
            + _table(("what", "seconds", "MCC after ICA"), rows))


def _table(head: tuple, rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) if rows else ""


def _dimension(entries: dict[str, dict], name: str) -> int:
    return entries.get(f"{name}/spectral", {}).get("dimension", 0)


def _isometric(entries: dict[str, dict], name: str) -> bool:
    return entries.get(f"{name}/spectral", {}).get("isometry", {}).get("factors", {}).get(ISOMETRY, 0) >= HOLDS


def _mcc(entries: dict[str, dict], name: str, variant: str = "") -> float:
    return entries[f"{name}/spectral{variant}"]["MCC"]["HLLE + ICA"]


def _of(entries: dict[str, dict], key: str, figure: str = "MCC") -> float:
    return mean(seed[figure] for seed in entries[key]["seeds"])


def _spread(entries: dict[str, dict], key: str) -> str:
    if key not in entries:
        return ""
    values = [seed["MCC"] for seed in entries[key]["seeds"]]
    return f"{mean(values):.3f} ± {pstdev(values):.3f}"
