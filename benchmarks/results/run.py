"""Fill the cells: train, score, store. All work is done by processes of their own.

What is finished is seen from the files, so that a run killed at any moment goes on when it is begun
again: engine.train resumes from its last save, a seed with metrics.json is not scored again, and
a cell whose entries are stored already needs no files at all.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import safe_open

from benchmarks.results import store
from benchmarks.results.cells import Cell
from benchmarks.results.floors import Floor
from engine.data.kept import VARIABLE
from engine.evaluate import METRICS
from engine.files import MANIFEST, locked, write_atomically

ROOT = Path(__file__).parents[2]
MADE, AGREEMENT, LOG, CONFIG = "cell.json", "agreement.json", "log.json", "config.json"
NO_AGREEMENT = {"udr": None, "informative": None, "informative by": None}
PICTURES = "pictures"  # folder of what is drawn once for all processes
TAIL = 6  # lines of a failed process that are shown
TRAINING, SCORING = 10.0, 3.0  # GB of a GPU's memory that a process is thought to need
OUT_OF_MEMORY = "OutOfMemoryError"  # in the output of one that needed more
# A child that ends with its parent, even if that is killed, so that the next run has the folder to itself.
LEASH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Tools:
    """The commands that do the work; each gets its arguments appended."""

    train: tuple[str, ...] = (sys.executable, "-m", "engine.train")                   # METHOD --data ...
    score: tuple[str, ...] = (sys.executable, "-m", "engine.evaluate")                # FOLDER
    agree: tuple[str, ...] = (sys.executable, "-m", "benchmarks.results.agreement")   # FOLDER FILE
    floor: tuple[str, ...] = (sys.executable, "-m", "benchmarks.results.floors")      # DATA CODE DRAW FILE


@dataclass
class Job:
    """One process to run: what for, where its output goes and the file that proves it done."""

    title: str
    command: list[str]
    log: Path
    proof: Path
    device: str
    cell: Cell | Floor
    rank: int = -1  # of two scorings, the lower goes first: a seed's number
    memory: float = SCORING  # GB of its device
    process: subprocess.Popen | None = None

    def start(self, threads: int, pictures: Path) -> None:
        leash = [sys.executable, "-c", LEASH] if sys.platform == "linux" else []
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*leash, *self.command], cwd=ROOT, env=environment(self.device, threads, pictures),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process and all that it started, if it has not ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def last_lines(self) -> str:
        lines = re.split(r"[\r\n]+", self.log.read_text(encoding="utf-8", errors="replace"))
        return "\n".join(f"    {line[:300]}" for line in [line for line in lines if line.strip()][-TAIL:])


@dataclass
class Runner:
    """The state of one run of the command."""

    cells: list[Cell]
    floors: list[Floor]
    seeds: tuple[int, ...]
    out: Path                    # of the cells' folders
    results: Path                # the JSON file
    devices: tuple[str, ...]     # 'cpu', 'cuda:0' ...
    jobs: int                    # trainings at a time on a device
    evaluators: int              # scorings at a time
    deadline: float = float("inf")  # time.monotonic() at which to stop
    share: float = 1.0           # of each device's memory that all of it may fill
    tools: Tools = field(default_factory=Tools)

    def __post_init__(self) -> None:
        self.begun = time.monotonic()
        self.out = self.out.resolve()
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.to_train = deque[Cell]()
        self.to_score, self.to_floor = deque[Job](), deque[Job]()
        self.training, self.scoring = list[Job](), list[Job]()
        self.failed: list[str] = []
        self.locks = ExitStack()
        self.ours: set[str] = set()  # cells whose folder this run has locked
        self.places: dict[str, str] = {}  # cell -> the device it was trained on
        self.needs: dict[str, float] = {}  # cell -> GB to train it, where it ran out of what was thought enough
        self.memory = {device: self.share * gigabytes(device) for device in self.devices}

    def run(self) -> list[str]:
        """Work until all is done or the deadline has come; returns what is left, by name and reason."""
        try:
            with self.locks:
                self.look_around()
                while self.busy():
                    if time.monotonic() > self.deadline:
                        self.say("the time is up; stopping")
                        break
                    self.start()
                    time.sleep(0.1)
                    self.reap()
        finally:
            self.stop()
        return self.left()

    # --- what there is to do

    def look_around(self) -> None:
        """Queue what the stored results and the folders lack, in the order of the cells."""
        for cell in self.cells:
            if not self.missing(cell):
                continue
            if not self.ended(cell):
                self.to_train.append(cell)
            elif self.claim(cell):
                self.trained(cell)
        for floor in self.missing_floors():
            file = self.out / "floors" / f"{floor.name}-{floor.draw}.json"
            command = [*self.tools.floor, floor.data, floor.code, str(floor.draw), str(file)]
            job = Job(f"{floor.name}, draw {floor.draw}", command, file.with_suffix(".log"), file, "cpu", floor)
            if file.exists():
                self.finished(job)
            else:
                self.to_floor.append(job)

    def of(self, cell: Cell) -> tuple[int, ...]:
        """The seeds of `cell` that were asked for."""
        return tuple(s for s in cell.seeds if s in self.seeds)

    def stored(self) -> dict:
        return store.load(self.results)

    def missing(self, cell: Cell) -> list[int]:
        """Seeds of `cell` that are not among the stored results with the options it has now."""
        entries, command = self.stored()["cells"].get(cell.name, {}), cell.command(self.of(cell))
        return [s for s in self.of(cell)
                if not store.same_options(entries.get(str(s), {}).get("command", ""), command)
                or not entries[str(s)]["scored"]]

    def missing_floors(self) -> list[Floor]:
        floors = self.stored()["floors"]
        return [f for f in self.floors if str(f.draw) not in floors.get(f.data, {}).get(f.code, {})]

    def made(self, cell: Cell) -> dict:
        """What an earlier run wrote down about the folder of `cell`; empty for a new one."""
        path = self.out / cell.name / MADE
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def ended(self, cell: Cell) -> bool:
        """Whether the training of `cell` is over: the manifest is the last file of a model folder."""
        return all((self.out / cell.name / f"seed{s}" / MANIFEST).exists() for s in self.of(cell))

    def claim(self, cell: Cell) -> bool:
        """Make the folder of `cell` ours; False if another run has it or it was made by other options."""
        folder = self.out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        if cell.name not in self.ours:
            if not self.locks.enter_context(locked(folder)):
                self.say(f"{cell.name} is left to another run, which is working on it")
                return False
            self.ours.add(cell.name)
        made = self.made(cell).get("command", cell.command(self.of(cell)))
        if made != cell.command(self.of(cell)):
            self.fail(f"{cell.name}: {folder} was made by `{made}`; delete it or choose another --out.")
            return False
        return True

    def busy(self) -> bool:
        return bool(self.to_train or self.to_score or self.to_floor or self.training or self.scoring)

    # --- processes

    def start(self) -> None:
        """Start all that there is room for."""
        for device in self.devices:
            while (self.to_train and sum(job.device == device for job in self.training) < self.jobs
                   and self.has_room(device, self.needs.get(self.to_train[0].name, TRAINING))):
                cell = self.to_train.popleft()
                if self.claim(cell):
                    self.train(cell, device)
        while (self.to_score or self.to_floor) and len(self.scoring) < self.evaluators:
            queue = self.to_score or self.to_floor
            if not self.has_room(queue[0].device, queue[0].memory):
                break  # until a process on that device has ended
            job = queue.popleft()
            job.start(max(1, self.cores // self.evaluators), self.out / PICTURES)
            self.scoring.append(job)

    def has_room(self, device: str, memory: float) -> bool:
        """Whether `memory` GB are left on a device by all that runs there; always if nothing does."""
        taken = [job.memory for job in (*self.training, *self.scoring) if job.device == device]
        return not taken or sum(taken) + memory <= self.memory.get(device, float("inf"))

    def train(self, cell: Cell, device: str) -> None:
        folder = self.out / cell.name
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.note(cell, {"command": cell.command(self.of(cell)), "machine": machine(device),
                         "torch": torch.__version__, "begun": self.made(cell).get("begun", now)})
        self.places[cell.name] = device
        inside = folder.is_relative_to(ROOT)  # as it will be read in the models' cards
        where = folder.relative_to(ROOT) if inside else folder
        job = Job(f"training {cell.name}", [*self.tools.train, *cell.arguments(self.of(cell), str(where))],
                  folder / "train.log", folder / LOG, device, cell, memory=self.needs.get(cell.name, TRAINING))
        self.say(f"training {cell.name} on {device}; {len(self.to_train)} wait")
        job.start(max(1, self.cores // (self.jobs * len(self.devices))), self.out / PICTURES)
        self.training.append(job)

    def stop(self, patience: float = 10) -> None:
        """End all processes, those that do not listen by force."""
        jobs = [*self.training, *self.scoring]
        for job in jobs:
            job.signal(signal.SIGTERM)
        limit = time.monotonic() + patience
        for job in jobs:
            try:
                job.process.wait(max(0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                job.signal(signal.SIGKILL)
                job.process.wait()

    def reap(self) -> None:
        """Take notice of processes that ended."""
        for running in (self.training, self.scoring):
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                if job.process.returncode and self.retried(job):
                    self.say(f"{job.title} ran out of memory and waits for {job.memory:.0f} GB")
                elif job.process.returncode or not job.proof.exists():
                    code = job.process.returncode
                    self.fail(f"{job.title} ended with code {code}; {job.log} ends with\n{job.last_lines()}")
                else:
                    self.finished(job)

    def retried(self, job: Job) -> bool:
        """Queue a job again that ran out of its GPU's memory, to be given twice as much."""
        if OUT_OF_MEMORY not in job.last_lines() or job.memory > self.memory.get(job.device, 0):
            return False
        job.memory *= 2
        if job.proof.name == LOG:
            self.needs[job.cell.name] = job.memory
            self.to_train.append(job.cell)
        else:
            self.to_score.append(job)
        return True

    def finished(self, job: Job) -> None:
        """Take over what a process that ended well has made."""
        if job.proof.name == LOG:
            self.trained(job.cell)
        elif isinstance(job.cell, Floor):
            scores = json.loads(job.proof.read_text(encoding="utf-8"))
            floor = {job.cell.data: {job.cell.code: {str(job.cell.draw): scores}}}
            store.update(self.results, {"cells": {}, "floors": floor})
            self.say(f"{job.title}: done")
        else:
            self.collect(job.cell)
            self.say(f"{job.title}: done; {len(self.to_score)} wait")

    def trained(self, cell: Cell) -> None:
        """Queue the scoring of a trained cell."""
        folder, device = self.out / cell.name, self.places.get(cell.name, self.devices[0])
        if "steps" not in self.made(cell):
            self.note(cell, self.made(cell) | lengths(folder))
        agreement = folder / AGREEMENT
        jobs = [Job(f"agreement of {cell.name}", [*self.tools.agree, str(folder), str(agreement)],
                    folder / "agreement.log", agreement, device, cell)]
        jobs += [Job(f"scoring {cell.name} seed {seed}", [*self.tools.score, str(folder / f"seed{seed}")],
                     folder / f"score{seed}.log", folder / f"seed{seed}" / METRICS, device, cell, seed)
                 for seed in self.missing(cell)]
        # The first seeds of every cell before the last ones of any, should the time run out.
        jobs = [*self.to_score, *(job for job in jobs if not job.proof.exists())]
        self.to_score = deque(sorted(jobs, key=lambda job: job.rank))
        self.collect(cell)

    def note(self, cell: Cell, made: dict) -> None:
        write_atomically(self.out / cell.name / MADE, json.dumps(made, indent=1).encode() + b"\n")

    # --- results

    def collect(self, cell: Cell) -> None:
        """Store what is known of the seeds of `cell`: all scores, or for now what the export measured."""
        folder = self.out / cell.name
        found = {str(s): entry(folder, s, self.of(cell)) for s in self.of(cell)
                 if (folder / f"seed{s}" / CONFIG).exists()}
        store.update(self.results, {"cells": {cell.name: found} if found else {}, "floors": {}})

    def left(self) -> list[str]:
        """What the stored results lack, with how far it is."""
        lacking = []
        for cell in self.cells:
            missing = self.missing(cell)
            if missing and self.ended(cell):
                lacking.append(f"{cell.name}: trained, not scored for seeds {' '.join(map(str, missing))}")
            elif missing:
                begun = (self.out / cell.name / "state.safetensors").exists()
                lacking.append(f"{cell.name}: {'training was begun' if begun else 'not begun'}")
        return lacking + [f"{floor.name}, draw {floor.draw}" for floor in self.missing_floors()]

    def fail(self, message: str) -> None:
        self.failed.append(message)
        self.say(f"FAILED: {message.splitlines()[0]}")

    def say(self, message: str) -> None:
        print(f"[{time.monotonic() - self.begun:7.0f} s] {message}", flush=True)


def entry(folder: Path, seed: int, seeds: tuple[int, ...]) -> dict:
    """All that is stored about one trained seed. Until it is scored, MIG and PSNR are those of its export."""
    def read(name: str) -> dict:
        path = folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    noted = read(MADE)  # one of an older version does not say when it was begun
    made = {key: noted[key] for key in ("command", "machine", "torch", "begun", "steps", "batch") if key in noted}
    figures, scores, log = read(f"seed{seed}/{CONFIG}")["figures"], read(f"seed{seed}/{METRICS}"), read(LOG)
    measured = {"MIG": figures["mig"], "psnr held out": figures["psnr_held_out_db"]}
    return made | read(AGREEMENT).get(f"seed{seed}", NO_AGREEMENT) | {
        "final loss": log[-1]["terms"][seeds.index(seed)]["loss"] if log else None,
        "factors": figures["visible_factors"], "scored": bool(scores), "scores": scores or measured,
    }


def lengths(folder: Path) -> dict[str, int]:
    """Steps and batch of the training in `folder`, as its saved state tells them."""
    with safe_open(folder / "state.safetensors", "np") as state:
        plan = json.loads(state.metadata()["plan"])
    return {"steps": plan["steps"], "batch": plan["batch"]}


def environment(device: str, threads: int, pictures: Path) -> dict[str, str]:
    """The variables of a process that sees one device and keeps to a number of threads. On a GPU it has all drawn
    pictures from the folder `pictures`; a CPU takes longer to draw a whole set than the few thousand that it needs."""
    number, drawn = "", {}
    if device.startswith("cuda"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        number = device.partition(":")[2] or "0"
        number = visible.split(",")[int(number)] if visible else number
        drawn = {VARIABLE: os.environ.get(VARIABLE) or str(pictures)}
    told = {"CUDA_VISIBLE_DEVICES": number, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    return os.environ | drawn | told


def gigabytes(device: str) -> float:
    """Memory of a GPU; a CPU's is not watched."""
    return torch.cuda.get_device_properties(device).total_memory / 2**30 if device.startswith("cuda") else float("inf")


def machine(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def with_steps(cells: list[Cell], steps: int | None) -> list[Cell]:
    """The cells, trained for `steps` if that is not None."""
    return [replace(cell, steps=steps) if steps else cell for cell in cells]
