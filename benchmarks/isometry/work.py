"""The cells of the benchmark: each runs by itself and answers with figures and codes."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.manifold import LocallyLinearEmbedding
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from engine import chart, export, hessian_lle, ica, isometry
from engine.data.manifolds import Law, Manifold
from engine.manifolds import manifold
from engine.method import Method
from engine.methods import isometric, local_isometry, vae
from engine.metrics import mcc, reconstruction
from engine.train import Plan, Trainer, resolved

VARIED = "blob", "disc-hue", "spots", "faces-light-background", "drawn-faces-2-3", "drawn-faces-4d"
CURVED = 2, 4, 8        # dimensions of the arcs
UNSEEN = 1000           # pictures that no net was trained on
TIMED = "blob"          # the manifold on which the embeddings are timed
DISTILLED = "HLLE + ICA, distilled"

NETS: dict[str, tuple[type[Method], dict]] = {
    "AE": (isometric.Isometric, {"isometry": "none"}),
    "IRMAE": (isometric.Isometric, {"isometry": "none", "linear_layers": 8}),
    "IRMAE, wide": (isometric.Isometric, {"isometry": "none", "linear_layers": 8, "wide": 32}),
    "VAE": (vae.VAE, {}),
    "LI-AE": (isometric.Isometric, {}),
    "LI-AE, decoder": (isometric.Isometric, {"isometry": "decoder"}),
    DISTILLED: (local_isometry.LocalIsometry, {}),
}


@dataclass(frozen=True)
class Setting:
    """What all cells have in common."""

    seeds: tuple[int, ...]
    steps: int
    count: int
    device: torch.device
    models: Path                # folder of the distilled models

    def pictures(self, name: str) -> int:
        """How many pictures of a manifold: twice as many of eight factors, as in the paper."""
        return self.count * (2 if len(manifold(name, 1).factors) >= 8 else 1)


@dataclass(frozen=True)
class Timing:
    """How long the embedding of the pictures of one manifold takes, with scikit-learn's in the same run."""

    key: str = "timing"

    def made_with(self, setting: Setting) -> dict:
        """What decides this cell's numbers."""
        return {"pictures": setting.count}

    def run(self, setting: Setting) -> tuple[dict, dict]:
        """Seconds of each, from bytes to coordinates for ours, from principal components for the two others,
        which spares theirs the 12,288 dimensions that the pictures have."""
        data = manifold(TIMED, setting.count)
        images, neighbours = pictures(data), hessian_lle.usual_neighbours(2)
        seconds, scores = {}, {}

        def timed(name: str, embed: object) -> object:
            begun = time.perf_counter()
            answer = embed()
            seconds[name] = time.perf_counter() - begun
            return answer

        found = timed("HLLE + ICA from pictures, four numbers of components tried", lambda: chart.fit(images, 2))
        points, truth = found.landmarks, data.values.numpy()[found.index]
        ours = timed("HLLE", lambda: hessian_lle.embed(points, 2)).coordinates
        theirs = timed("scikit-learn's hessian", lambda: LocallyLinearEmbedding(
            n_neighbors=neighbours, n_components=2, method="hessian", eigen_solver="dense").fit_transform(points))
        for name, codes in (("HLLE", ours), ("scikit-learn's hessian", theirs / theirs.std(0))):
            scores[name] = mcc(ica.unmix(codes)(codes), truth)
        return {"seconds": seconds, "MCC after ICA": scores, "threads": torch.get_num_threads()}, {}


@dataclass(frozen=True)
class Arcs:
    """Uniform factors, each on a half circle of its own, without pictures: an exact local isometry that is not flat."""

    dimensions: int

    @property
    def key(self) -> str:
        """The cell's name."""
        return f"arcs/{self.dimensions}"

    def made_with(self, setting: Setting) -> dict:
        """What decides this cell's numbers."""
        return {"points": setting.count * (2 if self.dimensions >= 8 else 1)}

    def run(self, setting: Setting) -> tuple[dict, dict]:
        """MCC of the coordinates, the gap, the estimated dimension, and what a neighbourhood spans: the mean share of
        a factor's range between the ends of the neighbours by which a Hessian is estimated."""
        random = np.random.default_rng(0)
        values = random.uniform(-1, 1, (self.made_with(setting)["points"], self.dimensions))
        angles = values * np.pi / 2
        points, neighbours = np.concatenate([np.cos(angles), np.sin(angles)], 1), hessian_lle.usual_neighbours(
            self.dimensions)
        table = NearestNeighbors(n_neighbors=neighbours + 1).fit(points).kneighbors(points, return_distance=False)
        found = hessian_lle.embed(points, self.dimensions)
        return {
            "neighbours": neighbours,
            "span": float(np.ptp(values[table], axis=1).mean() / 2),
            "gap": found.gap,
            "estimated dimension": hessian_lle.estimate_dimension(points),
            "MCC": mcc(ica.unmix(found.coordinates)(found.coordinates), values),
        }, {}


@dataclass(frozen=True)
class Spectral:
    """One manifold without any net: PCA and HLLE, before and after ICA."""

    name: str
    law: Law = "uniform"
    warped: bool = False
    sample: int = 0

    @property
    def key(self) -> str:
        """The cell's name."""
        variant = "gaussian" if self.law == "gaussian" else "warped" if self.warped else ""
        return f"{self.name}/spectral" + (f"/{variant}/{self.sample}" if variant else "")

    def made_with(self, setting: Setting) -> dict:
        """What decides this cell's numbers."""
        return {"pictures": setting.pictures(self.name)}

    def run(self, setting: Setting) -> tuple[dict, dict]:
        """MCC and isometry of each encoding, the gap, the estimated dimension; the codes."""
        data = manifold(self.name, setting.pictures(self.name), self.sample, self.law, self.warped)
        images, d = pictures(data, setting.device), len(data.factors)
        begun = time.perf_counter()
        found = chart.fit(images, d)
        seconds = time.perf_counter() - begun
        truth = data.values.numpy()[found.index]
        plane = chart.reduced(chart.principal(_bytes(images[found.index]), d), _bytes(images[found.index]))[0][:, :d]
        codes = {"factors": truth, "PCA": plane, "PCA + ICA": ica.unmix(plane)(plane),
                 "HLLE": found.flat.coordinates, "HLLE + ICA": found.codes}
        return {
            "dimension": d,
            "pictures charted": len(truth),
            "MCC": {name: mcc(code, truth) for name, code in codes.items() if name != "factors"},
            "isometry": {name: isometry.scores(found.landmarks, code) for name, code in codes.items()},
            "gap": found.flat.gap,
            "spectrum": found.flat.spectrum.tolist(),
            "components": found.landmarks.shape[1],
            "estimated dimension": hessian_lle.estimate_dimension(found.landmarks),
            "seconds": seconds,
        }, codes


@dataclass(frozen=True)
class Net:
    """One kind of net on one manifold, all seeds side by side."""

    name: str
    net: str

    @property
    def key(self) -> str:
        """The cell's name."""
        return f"{self.name}/{self.net}"

    def made_with(self, setting: Setting) -> dict:
        """What decides this cell's numbers."""
        return {"pictures": setting.pictures(self.name), "seeds": list(setting.seeds), "steps": setting.steps}

    def run(self, setting: Setting) -> tuple[dict, dict]:
        """For each seed MCC before and after ICA, isometry, PSNR and MCC on unseen pictures; the codes of the
        first seed after ICA."""
        data, fresh = manifold(self.name, setting.pictures(self.name)), manifold(self.name, UNSEEN, seed=1)
        images, unseen = pictures(data, setting.device), pictures(fresh, setting.device)
        points = chart.reduced(chart.principal(_bytes(images), 1), _bytes(images))[0]
        cls, options = NETS[self.net]
        if cls is local_isometry.LocalIsometry:
            options = options | {"landmarks": len(data)}
        config = cls.Config(latents=len(data.factors), **options)
        plan = Plan(data=data.name, seeds=setting.seeds, steps=setting.steps, device=str(setting.device), compile=False)
        trainer = Trainer(cls, config, plan, data, setting.device)
        begun = time.perf_counter()
        for number in range(setting.steps):
            trainer.advance(number)
        rows, kept = [], {}
        for run in trainer.runs:
            run.model.finish(trainer.pictures)
            row, code = scored(run.model, images, unseen, points, data.values.numpy(), fresh.values.numpy())
            rows.append(row)
            kept = kept or {self.net: code}
        if self.net == DISTILLED:
            export.export(setting.models / self.name, trainer.runs[0].model, data, resolved(plan, config, cls.name),
                          "python -m benchmarks.isometry", setting.seeds[0], [])
        return {"seeds": rows, "dimension": len(data.factors), "options": asdict(config),
                "seconds": time.perf_counter() - begun}, kept


def scored(
    model: Method, images: Tensor, unseen: Tensor, points: np.ndarray, truth: np.ndarray, unseen_truth: np.ndarray
) -> tuple[dict, np.ndarray]:
    """The figures of one trained net, and its codes (N, D) of `images` after ICA."""
    # A method that settles its axes itself keeps the codes before that under `mixed`.
    plain = encoded(getattr(model, "mixed", model.encode), images)
    codes, fresh = encoded(model.encode, images), encoded(model.encode, unseen)
    if not isinstance(model, local_isometry.LocalIsometry):
        unmixing = ica.unmix(codes)
        codes, fresh = unmixing(codes), unmixing(fresh)
    return {
        "MCC before ICA": mcc(plain, truth),
        "MCC": mcc(codes, truth),
        "MCC unseen": mcc(fresh, unseen_truth),
        "isometry": isometry.scores(points, codes),
        "PSNR unseen": reconstruction(model, unseen),
    }, codes


@torch.inference_mode()
def encoded(encode: object, images: Tensor) -> np.ndarray:
    """Codes (N, D) float64 of images (N, C, 64, 64) uint8."""
    return torch.cat([encode(part.float() / 255) for part in images.split(500)]).double().cpu().numpy()


def pictures(data: Manifold, device: torch.device | str = "cpu") -> Tensor:
    """All of a manifold: (N, C, 64, 64) uint8."""
    return data.images(torch.arange(len(data), device=device))


def _bytes(images: Tensor) -> np.ndarray:
    return images.cpu().flatten(1).numpy()
