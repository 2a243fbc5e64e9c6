"""The live lane: one worker thread owns all models and answers what the pages ask.

The pattern is that of StyleGAN3's asynchronous renderer: requests are plain data, a newer request
of the same lane (a page's canvas, say) replaces one that still waits, errors and timings are part
of the answer, and nothing a request contains can stop the worker. Requests that wait for the same
model are merged into one batch, but for exact pictures. Models are shared and immutable.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from engine import checkpoint, edits, factors, names, swaps
from engine.factors import Factor
from engine.files import Damaged
from engine.method import Method, Paper, Slot
from engine.names import Name

MODELS = Path(__file__).parents[1] / "assets" / "models"
MAX_ROWS = 512            # images in one batch
MAX_WAITING = 4096        # rows that may wait; beyond that a request is answered "busy" at once
CLOSING = "The server is shutting down."
Work = str | Callable[[Method, Tensor], Tensor]  # 'encode', 'decode', 'refine', or what a model does to rows (B, ...)
GRAPHED = (1, 9, 33, 99)  # batch sizes captured on a GPU: one image, a film, a strip, a page of films


class Refusal(ValueError):
    """A request that cannot be answered, in one sentence a person can act on."""


@dataclass(frozen=True)
class Model:
    """What a page needs to know about a loaded model."""

    name: str                       # folder name
    title: str                      # what the field calls it
    method: str
    data: str                       # training set
    channels: int
    code_size: int
    paper: Paper
    factors: tuple[Factor, ...]     # the whole table
    figures: dict[str, float]       # as measured at export
    mean: np.ndarray                # (D,) mean code of the data
    ordered: bool = False           # its factors come in the order they were learnt, not by effect
    names: dict[str, Name] = field(default_factory=dict)    # of factors by what the table calls them
    scores: dict[str, float] = field(default_factory=dict)  # against true factors; empty where none were measured
    sides: tuple[tuple[Slot, ...], tuple[Slot, ...]] = ((), ())  # content and style, where it tells them apart
    judges: bool = False            # whether it can say how far a picture is from what it has seen
    told: str = ""                  # the known factor that it was told of in training; all else without labels
    supposed: str = ""              # and what it took for granted of each class of that
    imagines: bool = False          # whether it can draw new content
    ways: tuple[str, str] = ("", "")  # what its quick and its slow way are called, where it has both
    divides: bool = False           # whether it is one field for each factor (engine.fields)
    weights: str = ""               # sha256 of the file that holds them
    size: int = 0                   # bytes of that file
    parameters: int = 0             # numbers in it that were trained

    @property
    def sliders(self) -> list[Factor]:
        """The visible factors, in the order of their rank."""
        return factors.visible(self.factors)


@dataclass(frozen=True)
class Answer:
    """What became of a request. Exactly one of `value`, `error` and `stale` says something."""

    stamp: int                      # grows with every request of this engine
    value: np.ndarray | None = None
    error: str = ""                 # one sentence
    stale: bool = False             # a newer request of the same lane took its place
    waited_ms: float = 0.0
    computed_ms: float = 0.0        # of the batch it was part of
    rows: int = 0                   # in that batch

    def get(self) -> np.ndarray:
        """The value; raises Refusal with the error's sentence."""
        if self.value is None:
            raise Refusal(self.error or "A newer request took the place of this one.")
        return self.value


@dataclass
class _Waiting:
    """A request in the queue."""

    stamp: int
    model: str
    work: Work
    rows: Tensor
    since: float
    future: Future


class Engine:
    """All models of a folder, behind one worker thread on one device.

    folder: holds one model folder each, or is one. device: 'cpu', 'cuda', 'cuda:1' ... A model that fails
    its checks is left out; `refused` says why, by name.
    """

    def __init__(self, folder: Path = MODELS, device: str = "cpu"):
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise Refusal(f"There is no usable GPU for '{device}'; start with --device cpu.")
        self.folder = folder
        self.models: dict[str, Model] = {}
        self.refused: dict[str, str] = {}
        self._nets: dict[str, Method] = {}
        self._graphs: dict[tuple[str, bool, int], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        inside = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        for path in [folder.resolve()] if (folder / "config.json").is_file() else inside:
            try:
                self._add(path)
            except Damaged as error:
                self.refused[path.name] = str(error)
        self._stamps = count(1)
        self._queue: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def model(self, name: str) -> Model:
        """The model called `name`; Refusal if there is none."""
        if not isinstance(name, str) or name not in self.models:
            reason = self.refused.get(name) if isinstance(name, str) else None
            raise Refusal(reason or f"There is no model called '{str(name)[:60]}'; known are {', '.join(self.models)}.")
        return self.models[name]

    def encode(self, model: str, images: np.ndarray, lane: Hashable = None) -> Answer:
        """Images (B, 64, 64, 3) uint8 -> codes (B, D) float32."""
        return self._ask(model, "encode", images, lane)

    def decode(self, model: str, codes: np.ndarray, lane: Hashable = None) -> Answer:
        """Codes (B, D) finite -> images (B, 64, 64, 3) uint8."""
        return self._ask(model, "decode", codes, lane)

    def refine(self, model: str, codes: np.ndarray, lane: Hashable = None) -> Answer:
        """The same with more care, where a model has a quick way and a slow one; for what stands still. It shares no
        batch: on a CPU the answer to the same rows is the same, bit for bit, whoever else asks."""
        return self._ask(model, "refine", codes, lane)

    def perform(self, model: str, work: Work, rows: Tensor, lane: Hashable = None) -> Answer:
        """Any work on checked rows (B, ...), B at most MAX_ROWS, done by the worker. Requests for the same function
        share its batches."""
        return self._submit(next(self._stamps), model, work, rows, lane)

    def films(
        self, model: str, code: np.ndarray, names: Sequence[str], frames: int, lane: Hashable = None
    ) -> Answer:
        """One code (D,) -> a film for each named factor from its low end to its high end, all in
        one batch: (F, frames, 64, 64, 3) uint8."""
        stamp = next(self._stamps)
        try:
            if not isinstance(names, (list, tuple)) or type(frames) is not int:
                raise Refusal("A film takes a list of factors and a number of frames.")
            if frames < 2 or not 1 <= len(names) * frames <= MAX_ROWS:
                raise Refusal(f"Films have 2 frames or more, and all together 1 to {MAX_ROWS}.")
            chosen = [self.factor(model, name) for name in names]
            base = self.codes(model, [code])[0]
            rows = torch.cat([edits.traverse(base, factor, frames) for factor in chosen])
        except Refusal as error:
            return Answer(stamp, error=str(error))
        answer = self._submit(stamp, model, "decode", rows, lane)
        if answer.value is None:
            return answer
        return Answer(**{**vars(answer), "value": answer.value.reshape(len(names), frames, *answer.value.shape[1:])})

    def edit(self, model: str, code: np.ndarray, values: dict[str, float]) -> np.ndarray:
        """One code (D,) with factors set by name -> the edited code (D,). Raises Refusal."""
        if not isinstance(values, dict):
            raise Refusal("Edits are values by the names of factors.")
        for name, value in values.items():
            self.factor(model, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
                raise Refusal(f"The value of factor '{name}' is not a usable number.")
        base = self.codes(model, [code])
        return edits.edit(base, self.model(model).factors, values)[0].numpy()

    def draw(self, model: str, seed: int) -> np.ndarray:
        """A random code (D,), the same for the same seed everywhere."""
        known = self.model(model)
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise Refusal("A seed is a whole number, 0 or more.")
        return edits.draw(known.factors, torch.tensor(known.mean), seed).numpy()

    def warm_up(self) -> None:
        """Run every model once at the page's shapes, so that nobody waits for a first call. It stops if the engine is
        closed."""
        try:
            for name, known in self.models.items():
                for rows in GRAPHED if self.device.type == "cuda" else (1, GRAPHED[-1]):
                    self.decode(name, np.repeat(known.mean[None], rows, 0)).get()
                if known.ways[1]:
                    self.refine(name, known.mean[None]).get()
        except Refusal:
            if not self._closed:
                raise

    def close(self) -> None:
        """Stop the worker after what it is doing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _add(self, path: Path) -> None:
        net, table, config = checkpoint.load(path)
        mean, scores = np.asarray(config["mean"], np.float32), checkpoint.scores(path)
        mean.setflags(write=False)
        digest, size = checkpoint.weights(path)
        self._nets[path.name] = net.to(self.device)
        self.models[path.name] = Model(
            name=path.name, title=net.title, method=config["method"], data=config["data"], channels=net.channels,
            code_size=net.code_size, paper=net.paper, factors=table, figures=config["figures"],
            mean=mean, ordered=net.ordered, names=names.load(path), scores=scores, sides=swaps.sides(net.layout()),
            judges=hasattr(net, "strangeness"), told=net.asks, supposed=net.supposes,
            imagines=hasattr(net, "new_contents"), divides=hasattr(net, "touched"), ways=net.ways,
            weights=digest, size=size, parameters=sum(p.numel() for p in net.parameters()),
        )

    def factor(self, model: str, name: str) -> Factor:
        """The factor called `name` of a model; Refusal if there is none."""
        for factor in self.model(model).factors:
            if factor.name == name:
                return factor
        raise Refusal(f"'{str(name)[:60]}' is no factor of {model}.")

    def codes(self, model: str, codes: ArrayLike) -> Tensor:
        """Codes (B, D) from outside, checked, as a copy; Refusal if they are none of this model."""
        size = self.model(model).code_size
        try:
            given = np.asarray(codes)
        except (TypeError, ValueError):  # rows of different lengths, say
            raise Refusal("A code must be a list of numbers.") from None
        if given.dtype.kind not in "fiu":
            raise Refusal("A code must be a list of numbers.")
        with np.errstate(over="ignore"):  # what overflows is refused below
            rows = torch.from_numpy(np.array(given, np.float32, order="C"))
        if rows.ndim != 2 or rows.shape[1] != size or not 1 <= len(rows) <= MAX_ROWS:
            raise Refusal(f"A code of {model} is {size} numbers.")
        if not (rows.abs() < 1e6).all():
            raise Refusal("A code must hold finite numbers only.")
        return rows

    def images(self, images: np.ndarray) -> Tensor:
        """Images (B, 64, 64, 3) uint8 from outside, checked; raises Refusal."""
        shaped = isinstance(images, np.ndarray) and images.ndim == 4 and images.shape[1:] == (64, 64, 3)
        if not shaped or images.dtype != np.uint8:
            raise Refusal("Images must be 64x64 RGB bytes.")
        if not 1 <= len(images) <= MAX_ROWS:
            raise Refusal(f"From 1 to {MAX_ROWS} images at a time, please.")
        return torch.from_numpy(np.ascontiguousarray(images))

    def _ask(self, model: str, work: str, array: np.ndarray, lane: Hashable) -> Answer:
        stamp = next(self._stamps)
        try:
            self.model(model)
            rows = self.images(array) if work == "encode" else self.codes(model, array)
        except Refusal as error:
            return Answer(stamp, error=str(error))
        return self._submit(stamp, model, work, rows, lane)

    def _submit(self, stamp: int, model: str, work: Work, rows: Tensor, lane: Hashable) -> Answer:
        """Queue a checked request and wait for its answer."""
        waiting = _Waiting(stamp, model, work, rows, time.perf_counter(), Future())
        key = ("single", stamp) if lane is None else lane
        with self._changed:
            if self._closed:
                return Answer(stamp, error=CLOSING)
            older = self._queue.get(key)
            if older and older.stamp > stamp:
                return Answer(stamp, stale=True)  # overtaken on the way here
            waits = sum(len(w.rows) for w in self._queue.values() if w is not older)
            if waits + len(rows) > MAX_WAITING:
                return Answer(stamp, error="The server is busy; try again in a moment.")
            if older:
                older.future.set_result(Answer(older.stamp, stale=True))
            # At the older one's place: a lane that never rests must not fall behind the others.
            self._queue[key] = waiting
            self._changed.notify()
        return waiting.future.result()

    def _serve(self) -> None:
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)  # graphs and streams are of the device that is a thread's own
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    for waiting in self._queue.values():
                        waiting.future.set_result(Answer(waiting.stamp, error=CLOSING))
                    return
                batch = self._take()
            begun, rows = time.perf_counter(), sum(len(w.rows) for w in batch)
            try:
                value, error = self._compute(batch), ""
                if not value.ndim or len(value) != rows:
                    raise ValueError("an answer for each row is due")
            except Exception as failure:  # whatever went wrong, the worker must live on
                value, error = None, f"The model could not answer ({type(failure).__name__})."
            ended, start = time.perf_counter(), 0
            for waiting in batch:
                part = None if value is None else value[start:start + len(waiting.rows)]
                start += len(waiting.rows)
                waiting.future.set_result(Answer(
                    waiting.stamp, part, error, False,
                    1e3 * (begun - waiting.since), 1e3 * (ended - begun), rows,
                ))

    def _take(self) -> list[_Waiting]:
        """The oldest request and all that can share its batch, removed from the queue."""
        first = next(iter(self._queue.values()))
        batch, rows = [], 0
        for key, waiting in list(self._queue.items()):
            same = waiting.model == first.model and waiting.work == first.work != "refine"
            if (waiting is first or same) and (not batch or rows + len(waiting.rows) <= MAX_ROWS):
                batch.append(self._queue.pop(key))
                rows += len(waiting.rows)
        return batch

    @torch.inference_mode()
    def _compute(self, batch: list[_Waiting]) -> np.ndarray:
        name, rows = batch[0].model, torch.cat([w.rows for w in batch]).to(self.device)
        net = self._nets[name]
        work = batch[0].work
        if callable(work):
            return work(net, rows).cpu().numpy()
        if work == "encode":
            return net.encode(seen(net, rows)).cpu().numpy()
        quick = work == "decode" or type(net).refine is Method.refine
        if self.device.type == "cuda" and len(rows) <= GRAPHED[-1]:
            return self._graphed(name, quick, rows).cpu().numpy()
        return pixels(net.decode if quick else net.refine, rows).cpu().numpy()

    def _graphed(self, name: str, quick: bool, rows: Tensor) -> Tensor:
        """Pictures by a captured graph of the next larger batch size."""
        size = next(s for s in GRAPHED if s >= len(rows))
        if (name, quick, size) not in self._graphs:
            net, static = self._nets[name], torch.zeros(size, rows.shape[1], device=self.device)
            draw = net.decode if quick else net.refine
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                pixels(draw, static)  # libraries choose their algorithms outside the recording
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = pixels(draw, static)
            self._graphs[name, quick, size] = graph, static, output
        graph, static, output = self._graphs[name, quick, size]
        static[:len(rows)] = rows
        graph.replay()
        return output[:len(rows)]


def seen(net: Method, rows: Tensor) -> Tensor:
    """RGB bytes (B, 64, 64, 3) as a model sees them: (B, C, 64, 64) in [0, 1], grey where it knows no colour."""
    x = rows.permute(0, 3, 1, 2).float() / 255
    return x.mean(1, keepdim=True) if net.channels == 1 else x


def pixels(draw: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Codes (B, D) -> RGB bytes (B, 64, 64, 3), on their device; `draw` makes images in [0, 1] of them."""
    x = (255 * draw(rows)).round().to(torch.uint8)
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
