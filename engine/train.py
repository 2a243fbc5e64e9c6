"""python -m engine.train METHOD --data NAME: train one method, several seeds side by side.

The whole step (drawing the batch, forward, backward, Adam) of every seed is captured in one CUDA graph, each seed a
branch of its own: small nets are bound by kernel launches, and independent branches fill the GPU that one of them
leaves idle. Every seed has its own generator, so what it draws does not depend on which others run beside it. On a
CPU, or with --no-capture, the same step runs eagerly.

Disentangling objectives have local minima that a run does not leave, and most are told by their loss within a thousand
steps. With --starts every seed begins from several initialisations in turn and goes on with the one whose loss is
lowest, which needs no labels. With --begin-from it begins with the weights of a model folder, or some parts of them,
as to go on with the last stages of a method whose first ones are set to end at step 0.

To resume after any interruption, run the same command again.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
import torch
import tyro
from safetensors import SafetensorError, safe_open
from torch import Generator, Tensor
from tqdm import tqdm

from engine import checkpoint, export
from engine.data import Dataset, batches, load, sample, sample_classes
from engine.device import chosen_device
from engine.files import locked, read_verified, write_atomically
from engine.method import Method, initialised, method, methods

LOCK = ".training"  # a file that is locked while a run is under way
APART = 1_000_003  # between the numbers of two starts of a seed, so that they are no other seed's


@dataclass(frozen=True)
class Plan:
    """Options of a training run, whatever the method."""

    data: str                             # data set: a name or a path, see engine.data.load
    out: Path | None = None               # folder of the run; runs/METHOD-DATA if not given
    seeds: tuple[int, ...] = (0,)         # one model for each, trained side by side
    steps: int = 60_000                   # optimiser steps
    starts: int = 1                       # initialisations of each seed; the one with the lowest loss goes on
    start_steps: int = 1_500              # steps that each of them gets before it is judged
    begin_from: Path | None = None        # a folder of the same method and nets; the weights training begins with
    begin_parts: tuple[str, ...] = ()     # parts of the method that these are of, such as base; all if none is given
    batch: int = 64                       # images per step and seed
    lr: float = 1e-3                      # Adam's peak learning rate; decays to 0 on a cosine, or one for each stage
    precision: Literal["bf16", "fp32"] = "bf16"  # of convolutions and products on a GPU; a CPU uses fp32
    capture: bool = True                  # capture the step in a CUDA graph
    compile: bool = True                  # fuse the captured step's small kernels with torch.compile
    device: str = "auto"                  # 'auto', 'cpu', 'cuda', 'cuda:1' ...
    log_every: int = 200                  # steps between two rows of the log
    save_every: int = 10_000              # steps between two saves; a multiple of log_every
    dry_run: bool = False                 # print the resolved options and stop


class Run:
    """One seed in training: model, optimiser and the generator all its randomness comes from."""

    def __init__(self, cls: type[Method], config: object, channels: int, seed: int, plan: Plan, device: torch.device):
        self.fresh = lambda number: initialised(cls, config, channels, number)
        self.model = self.fresh(seed)
        # Channels last is the layout in which a GPU convolves half-precision images fastest.
        self.layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.model.to(device, memory_format=self.layout)
        self.seed = seed
        self.plan = plan
        self.generator = Generator(device).manual_seed(seed)
        # The learning rate is a tensor so that its schedule runs inside the captured graph.
        self.lr = torch.tensor(plan.lr, device=device)
        self.optimizer = torch.optim.Adam(
            [{"lr": self.lr} | group for group in self.model.groups()],
            fused=True, capturable=device.type == "cuda",
        )
        self.autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=plan.precision == "bf16" and device.type == "cuda"
        )
        # Worth its start-up time only where kernels, not the interpreter, are the cost.
        fuse = plan.compile and plan.capture and device.type == "cuda"
        self.loss = self.model.loss
        if fuse:
            torch._dynamo.config.recompile_limit = 256  # every stage of every seed has code of its own
            self.loss = torch.compile(self.model.loss)
            self.model.fuse()
        self.names: list[str] = []                   # of the loss terms
        self.sums = torch.zeros(1, device=device)    # steps since the last row, then each term

    def advance(self, draw: Callable[[Generator], Tensor], step: Tensor, stage: int) -> None:
        """One optimiser step on a batch of its own."""
        self.lr.copy_(self.plan.lr * self.model.rate(step, self.plan.steps, stage))
        x = draw(self.generator).contiguous(memory_format=self.layout)
        with self.autocast:
            terms = self.loss(x, step, self.generator, stage)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        self.optimizer.step()
        if self.names != list(terms):
            self.names, self.sums = list(terms), torch.zeros(len(terms) + 1, device=x.device)
        self.sums += torch.stack([torch.ones_like(self.lr), *(t.detach() for t in terms.values())])

    def means(self) -> dict[str, float]:
        """Mean of each loss term over the steps since the last call."""
        steps, *sums = self.sums.tolist()
        self.sums.zero_()
        return {name: value / steps for name, value in zip(self.names, sums, strict=True)}

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in training, by name. Before the first step Adam has no state yet."""
        state = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for i, entry in self.optimizer.state_dict()["state"].items():
            state |= {f"adam.{i}.{k}": v for k, v in entry.items()}
        return state | {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `tensors` returned, in place, so that captured addresses stay valid."""
        own = self.tensors()
        with torch.no_grad():
            for name, tensor in own.items():
                if name == "generator":
                    self.generator.set_state(state[name].cpu())
                elif name in state:
                    tensor.copy_(state[name])
                else:
                    tensor.zero_()  # Adam before its first step
        self.sums.zero_()

    def restart(self, start: int) -> None:
        """Go back to before the first step, with the initialisation and the draws numbered `start`; 0 is what
        the run was made with."""
        number = self.seed + start * APART
        weights = {f"model.{k}": v for k, v in self.fresh(number).state_dict().items()}
        self.restore(weights | {"generator": Generator(self.generator.device).manual_seed(number).get_state()})

    def prepare(self) -> None:
        """Give Adam its state without moving a weight, so that `restore` has tensors to fill."""
        before = {k: v.clone() for k, v in self.tensors().items()}
        for p in self.model.parameters():
            p.grad = torch.zeros_like(p)
        self.optimizer.step()
        self.restore(before)


class Trainer:
    """Several runs stepping together."""

    def __init__(self, cls: type[Method], config: object, plan: Plan, dataset: Dataset, device: torch.device):
        self.plan, self.device = plan, device
        self.runs = [Run(cls, config, dataset.channels, seed, plan, device) for seed in plan.seeds]
        if plan.begin_from is not None:
            checkpoint.take_over([run.model for run in self.runs], plan.begin_from, plan.begin_parts)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.draw = batches(dataset, plan.batch, device)
        self.boundaries = self.runs[0].model.stages()
        self.captured: tuple[int, torch.cuda.CUDAGraph] | None = None
        self.pictures = lambda count: sample(dataset, count, device)
        asked = self.runs[0].model.asks
        told = dataset.alike(asked)
        for run in self.runs:
            run.model.prepare(lambda count: sample(told, count, device))
            if asked:
                run.model.group(lambda count: sample_classes(told, asked, count, device))
            run.prepare()

    def advance(self, number: int) -> None:
        """Make step `number` (from 0) in every run."""
        stage = sum(number >= b for b in self.boundaries)
        if self.device.type == "cuda" and self.plan.capture:
            if self.captured is None or self.captured[0] != stage:
                self.captured = None  # frees the old graph's memory first
                self.captured = stage, self.capture(stage)
            self.captured[1].replay()
        else:
            for run in self.runs:
                run.advance(self.draw, self.step, stage)
            self.step += 1

    def begin(self) -> list[dict]:
        """Give every run the best of `plan.starts` initialisations, trained for `plan.start_steps` steps, and
        return the log of all of them. Their losses are compared over the last third of those steps."""
        lowest: list[tuple[float, dict[str, Tensor]]] = [(math.inf, {})] * len(self.runs)
        rows = []
        for start in tqdm(range(self.plan.starts), unit="start"):
            self.step.zero_()
            for run in self.runs:
                run.restart(start)
            for number in range(self.plan.start_steps):
                if number == self.plan.start_steps * 2 // 3:
                    for run in self.runs:
                        run.sums.zero_()
                self.advance(number)
            terms = [run.means() for run in self.runs]
            rows.append({"step": self.plan.start_steps, "start": start, "terms": terms})
            for i, (run, mean) in enumerate(zip(self.runs, terms, strict=True)):
                if mean["loss"] < lowest[i][0]:
                    lowest[i] = mean["loss"], {k: v.clone() for k, v in run.tensors().items()}
        for run, (loss, state) in zip(self.runs, lowest, strict=True):
            if not state:
                raise ValueError(f"No start of seed {run.seed} has a finite loss; try a smaller --lr.")
            run.restore(state)
        return rows

    def capture(self, stage: int) -> torch.cuda.CUDAGraph:
        """Record one step of all runs as a CUDA graph with a branch for each."""
        before = [{k: v.clone() for k, v in run.tensors().items()} for run in self.runs]
        streams = [torch.cuda.Stream() for _ in self.runs]

        def everyone() -> None:
            here = torch.cuda.current_stream()
            for run, stream in zip(self.runs, streams, strict=True):
                stream.wait_stream(here)
                with torch.cuda.stream(stream):
                    run.advance(self.draw, self.step, stage)
            for stream in streams:
                here.wait_stream(stream)

        # Libraries choose algorithms and allocate workspaces on first use, outside the recording.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                everyone()
        torch.cuda.synchronize()
        for run, state in zip(self.runs, before, strict=True):
            run.restore(state)
            run.optimizer.zero_grad(set_to_none=True)

        graph = torch.cuda.CUDAGraph()
        for run in self.runs:
            graph.register_generator_state(run.generator)
        with torch.cuda.graph(graph):
            everyone()
            self.step += 1
        return graph

    def save(self, path: Path, history: list[dict], plan: dict) -> None:
        """Write the whole state of training to one file, atomically."""
        tensors = {
            f"{run.seed}.{name}": t.detach().cpu().contiguous()
            for run in self.runs for name, t in run.tensors().items()
        }
        metadata = {"step": str(self.step.item()), "plan": json.dumps(plan), "history": json.dumps(history)}
        write_atomically(path, safetensors.torch.save(tensors, metadata))

    def resume(self, path: Path, plan: dict) -> list[dict]:
        """Take over the state saved at `path` and return its log.

        Raises ValueError if it was made by other options or is not what `save` wrote.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                step, history = int(metadata["step"]), json.loads(metadata["history"])
                made_with, wanted = flat(json.loads(metadata["plan"])), flat(plan)
                usual = vars(Plan("")) | vars(type(self.runs[0].model.config)())  # for options younger than the file
                changed = [k for k in wanted if json.dumps(made_with.get(k, usual.get(k))) != json.dumps(wanted[k])]
                states = [] if changed else [
                    {k: file.get_tensor(f"{run.seed}.{k}") for k in run.tensors()} for run in self.runs
                ]
            odd = {k for run, state in zip(self.runs, states, strict=not changed)
                   for k, t in run.tensors().items() if state[k].shape != t.shape}
            if odd - {"generator"}:
                raise ValueError("its tensors have other shapes")
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path} is damaged ({reason}); delete it to begin again.") from None
        if changed:
            raise ValueError(f"{path}: made with other options ({', '.join(changed)}); delete it or use another --out.")
        if odd:  # the random numbers of a GPU go on where there is one, and so with a CPU's
            raise ValueError(f"{path} was saved on another kind of device; go on there, or choose another --out.")
        for run, state in zip(self.runs, states, strict=True):
            run.restore(state)
        self.step.fill_(step)
        return history


def resolved(plan: Plan, config: object, name: str) -> dict:
    """Everything that decides a run's numbers, as plain data. Raises Damaged if what it begins with is."""
    first = None
    if plan.begin_from is not None:  # what is in it counts, not where it is
        first = hashlib.sha256(read_verified(plan.begin_from, "model.safetensors")).hexdigest()
    chosen = asdict(plan) | {"out": None, "dry_run": False, "device": None, "begin_from": first}
    return json.loads(json.dumps({"method": name} | chosen | {"model": asdict(config)}))


def flat(options: dict) -> dict:
    """The options of `resolved`, the model's among the others, as on the command line."""
    return {k: v for k, v in options.items() if k != "model"} | options["model"]


def fit(cls: type[Method], config: object, plan: Plan) -> list[Path]:
    """Train to the end, resuming if the run was begun before; returns the exported model folders. Raises ValueError
    for a plan that cannot be kept, and while another process trains in the same folder."""
    if min(plan.steps, plan.starts, plan.log_every, plan.save_every, len(plan.seeds)) < 1:
        raise ValueError("--steps, --starts, --log-every and --save-every must be 1 or more, and a seed be given.")
    if plan.batch < 2 or not plan.lr >= 0:  # statistics of a batch of one picture teach nothing
        raise ValueError("--batch must be 2 or more, and --lr 0 or more.")
    if plan.starts > 1 and not 0 < plan.start_steps < plan.steps:
        raise ValueError("--start-steps must be at least 1 and fewer than --steps.")
    if plan.starts > 1 and plan.begin_from is not None:
        raise ValueError("--starts are new initialisations; --begin-from has none.")
    if plan.begin_parts and plan.begin_from is None:
        raise ValueError("--begin-parts are of the folder that --begin-from names.")
    if len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError("--seeds must differ from each other.")
    if plan.save_every % plan.log_every:
        raise ValueError("--save-every must be a multiple of --log-every.")
    device = chosen_device(plan.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # where graphs are captured
    torch.backends.cudnn.benchmark = True
    dataset = load(plan.data)
    if len(dataset) < 2:
        raise ValueError(f"{plan.data} holds one picture; training takes two or more.")
    out = plan.out or Path("runs") / f"{cls.name}-{dataset.name}"
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / LOCK) as ours:
        if not ours:
            raise ValueError(f"Another process is training in {out}; wait for its end or choose another --out.")
        return complete(Trainer(cls, config, plan, dataset, device), dataset, out)


def complete(trainer: Trainer, dataset: Dataset, out: Path) -> list[Path]:
    """Make the steps of a run that are left, in a folder that nobody else trains in, and export it."""
    plan, model = trainer.plan, trainer.runs[0].model
    options = resolved(plan, model.config, model.name)
    state = out / "state.safetensors"
    if state.exists():
        history = trainer.resume(state, options)
    elif plan.starts > 1:
        history = trainer.begin()
        trainer.save(state, history, options)
    else:
        history = []

    start, begun = trainer.step.item(), time.perf_counter()
    with tqdm(total=plan.steps, initial=start, unit="step", mininterval=1) as bar:
        for number in range(start, plan.steps):
            trainer.advance(number)
            done = number + 1
            if done % plan.log_every == 0:
                terms = [run.means() for run in trainer.runs]
                speed = (done - start) * plan.batch * len(plan.seeds) / (time.perf_counter() - begun)
                history.append({"step": done, "images_per_s": round(speed)} | {"terms": terms})
                bar.set_postfix_str(f"{speed:,.0f} images/s " + " ".join(f"{k} {v:.4g}" for k, v in terms[0].items()))
                bar.update(done - bar.n)
            if done % plan.save_every == 0 or done == plan.steps:
                trainer.save(state, history, options)
    write_atomically(out / "log.json", json.dumps(history, indent=1).encode() + b"\n")
    for run in trainer.runs:
        checkpoint.settle(run.model)  # what is measured last is measured of what the folder will hold
        run.model.finish(trainer.pictures)
    earlier = checkpoint.commands(plan.begin_from) if plan.begin_from is not None else []
    command = "\n    ".join([*earlier, "python -m engine.train " + " ".join(sys.argv[1:])])
    return [export.export(out / f"seed{run.seed}", run.model, dataset, options, command, run.seed, history[-1:])
            for run in trainer.runs]


def parse(arguments: list[str]) -> tuple[type[Method], object, Plan]:
    """Command line -> method, its config, the plan. The first argument names the method."""
    if not arguments or arguments[0].startswith("-"):
        raise SystemExit(f"usage: python -m engine.train METHOD --data NAME [options]\n"
                         f"METHOD is one of {', '.join(methods())}; METHOD --help lists its options.")
    try:
        cls = method(arguments[0])
    except ValueError as error:
        raise SystemExit(str(error)) from None
    flat = Annotated[cls.Config, tyro.conf.arg(name="")]
    both = make_dataclass("Arguments", [("plan", Annotated[Plan, tyro.conf.arg(name="")]),
                                        ("model", flat, field(default_factory=cls.Config))])
    chosen = tyro.cli(both, args=arguments[1:], prog=f"python -m engine.train {cls.name}", description=cls.__doc__)
    return cls, chosen.model, chosen.plan


def main() -> None:
    """Entry point of `python -m engine.train`."""
    cls, config, plan = parse(sys.argv[1:])
    try:
        if plan.dry_run:
            print(json.dumps(resolved(plan, config, cls.name), indent=1))
            return
        for folder in fit(cls, config, plan):
            print(folder)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("\nStopped; the same command goes on from where it was saved last.") from None


if __name__ == "__main__":
    main()
