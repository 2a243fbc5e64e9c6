"""The command behind the table: what is run, what is not run twice, what is stored and what is shown.

Trainings and scorings are done by a stub that writes files like theirs and notes every call.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.results import __main__ as command
from benchmarks.results import agreement, floors, run, store
from benchmarks.results.cells import DATA, SEEDS, Cell, chosen, ordered, table
from benchmarks.results.floors import Floor
from benchmarks.results.published import NOTES, PUBLISHED
from benchmarks.results.report import COLUMNS, bold, report, spread, text
from benchmarks.results.run import TRAINING, Runner, Tools
from engine import evaluate, metrics
from engine.data.dataset import Dataset, Grid, KnownFactor
from engine.data.kept import VARIABLE
from engine.files import locked
from engine.method import Slot
from engine.train import parse
from tests.tiny import save_tiny

ROOT = Path(__file__).parents[2]
SCORES = {name: 0.5 for name in COLUMNS.values()}
NOTHING = {"cells": {}, "floors": {}}

# engine.train and the others, as far as files go. Method 'slow' halts halfway the first time.
STUB = """
import json, sys, time
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file

def write(path, data):  # whole or not at all, as the real ones do
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(data))
    partial.rename(path)

kind, *given = sys.argv[1:]
with open(Path(__file__).with_name("calls"), "a") as calls:
    calls.write(" ".join([kind, *given]) + "\\n")
if kind == "train":
    at = {name: given.index(name) for name in ("--seeds", "--steps", "--out")}
    seeds = given[at["--seeds"] + 1:at["--steps"]]
    steps, out = int(given[at["--steps"] + 1]), Path(given[at["--out"] + 1])
    if given[0] == "broken":
        print("a first line", *range(20), sep="\\n")
        sys.exit("the loss is not a number")
    if given[0] == "greedy" or given[0] == "crowded" and not (out / "tried").exists():
        (out / "tried").touch()
        sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.76 GiB.")
    if given[0] == "slow" and not (out / "state.safetensors").exists():
        save_file({"half": np.zeros(1)}, out / "state.safetensors", {"plan": "{}"})
        time.sleep(60)
    plan = json.dumps({"steps": steps, "batch": 64})
    save_file({"whole": np.zeros(1)}, out / "state.safetensors", {"plan": plan})
    log = [{"step": s, "terms": [{"loss": 100 - int(n)} for n in seeds]} for s in (steps // 2, steps)]
    write(out / "log.json", log)
    for number in seeds:
        (out / f"seed{number}").mkdir(exist_ok=True)
        figures = {"mig": 0.25, "psnr_held_out_db": 18.0, "visible_factors": 4}
        for name in ("config.json", "MANIFEST.json"):
            write(out / f"seed{number}" / name, {"figures": figures})
if kind == "score":
    folder = Path(given[0])
    if folder.parent.name.startswith("crowded") and not (folder / "tried").exists():
        (folder / "tried").touch()
        sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
    if folder.parent.name.startswith("unscorable") and folder.name == "seed1":
        sys.exit("no factors")
    write(folder / "metrics.json", {"MIG": int(folder.name[4:]) / 10, "psnr held out": 20.5})
if kind == "agree":
    found = sorted(p.name for p in Path(given[0]).glob("seed*"))
    write(given[1], {name: {"udr": 0.5, "informative": 3, "informative by": "KL"} for name in found})
if kind == "floor":
    write(given[3], {"MIG": 0.25})
"""


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    return Tools(*((sys.executable, str(stub), kind) for kind in ("train", "score", "agree", "floor")))


@pytest.fixture
def runner(tmp_path: Path, tools: Tools):
    """Makes runners with few seeds on the CPU, whose files lie in tmp_path."""
    def make(*cells: Cell, **options) -> Runner:
        given = {"cells": list(cells), "floors": [], "seeds": (0, 1, 2), "out": tmp_path / "runs",
                 "results": tmp_path / "results.json", "devices": ("cpu",), "jobs": 2, "evaluators": 2, "tools": tools}
        return Runner(**given | options)
    return make


def cell(name: str = "one-dsprites", method: str = "quick", **options) -> Cell:
    return Cell(name, name.partition("-")[0].title(), method, "dsprites", **{"steps": 10} | options)


def calls(tmp_path: Path, kind: str = "") -> list[str]:
    path = tmp_path / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(kind)]


def made(value: float = 0.5, command: str = "train --seeds 0 1", **more) -> dict:
    """A stored entry."""
    return {"command": command, "machine": "CPU", "torch": "2", "steps": 10, "batch": 64, "udr": 0.5, "informative": 3,
            "informative by": "KL", "final loss": 1.0, "factors": 4, "scored": True,
            "scores": dict.fromkeys(SCORES, value)} | more


# --- running

@pytest.mark.parametrize(("gigabytes", "share", "together"), [
    (5.0, 1.0, 1), (12.0, 1.0, 1), (25.0, 1.0, 2), (float("inf"), 1.0, 3), (50.0, 0.5, 2), (50.0, 0.25, 1),
])
def test_no_more_runs_on_a_device_than_its_share_of_memory_holds(runner, monkeypatch, gigabytes, share, together):
    monkeypatch.setattr(run, "gigabytes", lambda device: gigabytes)
    here, most = runner(cell(), cell("two-dsprites"), cell("three-dsprites"), jobs=3, evaluators=3, share=share), []
    start = here.start
    monkeypatch.setattr(here, "start", lambda: (start(), most.append((len(here.training), len(here.scoring)))))
    assert here.run() == [] and here.failed == []
    assert max(training for training, _ in most) == together
    assert all(training * run.TRAINING + scoring * run.SCORING <= share * gigabytes
               for training, scoring in most if training + scoring > 1)


def test_a_cell_is_trained_scored_and_stored(runner, tmp_path):
    first = runner(cell(options="--beta 3"), cell("two-dsprites"))
    assert first.run() == [] and first.failed == []
    stored = store.load(tmp_path / "results.json")["cells"]
    assert stored.keys() == {"one-dsprites", "two-dsprites"}
    assert stored["one-dsprites"].keys() == {"0", "1", "2"}
    entry = stored["one-dsprites"]["2"]
    assert time.strptime(entry.pop("begun"), "%Y-%m-%d %H:%M:%S")
    assert entry == {
        "command": "python -m engine.train quick --data dsprites --seeds 0 1 2 --steps 10 "
                   "--out runs/results/one-dsprites --beta 3",
        "machine": "CPU", "torch": torch.__version__, "steps": 10, "batch": 64, "final loss": 98,
        "udr": 0.5, "informative": 3, "informative by": "KL", "factors": 4, "scored": True,
        "scores": {"MIG": 0.2, "psnr held out": 20.5},
    }
    assert len(calls(tmp_path, "train")) == 2 and len(calls(tmp_path, "score")) == 6


def test_what_is_finished_is_not_run_again(runner, tmp_path):
    runner(cell()).run()
    before = (tmp_path / "results.json").read_bytes(), calls(tmp_path)
    assert runner(cell()).run() == []                                     # from the stored results
    (tmp_path / "results.json").unlink()
    assert runner(cell()).run() == []                                     # from the folders
    assert ((tmp_path / "results.json").read_bytes(), calls(tmp_path)) == before
    (tmp_path / "results.json").unlink()
    (tmp_path / "runs" / "one-dsprites" / "seed1" / "metrics.json").unlink()
    assert runner(cell()).run() == []
    assert len(calls(tmp_path, "train")) == 1 and len(calls(tmp_path, "score")) == 4


def test_folders_of_a_finished_cell_are_not_needed(runner, tmp_path):
    runner(cell()).run()
    assert runner(cell(), out=tmp_path / "elsewhere").run() == []
    assert len(calls(tmp_path, "train")) == 1


def test_other_options_are_another_cell(runner, tmp_path):
    runner(cell()).run()
    again = runner(cell(options="--beta 3"))
    assert again.run() == ["one-dsprites: trained, not scored for seeds 0 1 2"]
    assert len(again.failed) == 1 and "delete it or choose another --out" in again.failed[0]
    fresh = runner(cell(options="--beta 3"), out=tmp_path / "elsewhere")
    assert fresh.run() == [] and not fresh.failed
    commands = {e["command"] for e in store.load(tmp_path / "results.json")["cells"]["one-dsprites"].values()}
    assert len(commands) == 1 and commands.pop().endswith("--beta 3")


def test_a_failure_is_told_and_stops_nothing_else(runner, tmp_path):
    failing = runner(cell("bad-dsprites", "broken"), cell("unscorable-dsprites"), cell())
    assert failing.run() == ["bad-dsprites: not begun", "unscorable-dsprites: trained, not scored for seeds 1"]
    training, scoring = sorted(failing.failed, key=lambda line: "scoring" in line)
    assert "training bad-dsprites ended with code 1" in training
    assert training.endswith("    the loss is not a number") and "a first line" not in training
    assert "scoring unscorable-dsprites seed 1" in scoring and "no factors" in scoring
    stored = store.load(tmp_path / "results.json")["cells"]
    assert [entry["scored"] for entry in stored["unscorable-dsprites"].values()] == [True, False, True]
    # What the export measured stands for a seed that has no scores yet.
    assert stored["unscorable-dsprites"]["1"]["scores"] == {"MIG": 0.25, "psnr held out": 18.0}
    assert stored.keys() == {"one-dsprites", "unscorable-dsprites"}


def test_what_ran_out_of_memory_is_tried_again_with_more(runner, tmp_path):
    crowded = runner(cell("crowded-dsprites", "crowded"), cell("greedy-dsprites", "greedy"))
    crowded.memory = {"cpu": 60.0}
    assert crowded.run() == ["greedy-dsprites: not begun"]
    assert crowded.needs == {"crowded-dsprites": 2 * TRAINING, "greedy-dsprites": 8 * TRAINING}
    assert len(crowded.failed) == 1 and "OutOfMemoryError" in crowded.failed[0]     # alone on the device, too
    stored = store.load(tmp_path / "results.json")["cells"]["crowded-dsprites"]
    assert [entry["scored"] for entry in stored.values()] == [True] * 3


def test_time_is_up(runner, tmp_path):
    begun = time.monotonic()
    late = runner(cell("long-dsprites", "slow"), cell(), jobs=1, deadline=begun + 2)
    left = late.run()
    assert time.monotonic() - begun < 15 and not late.failed
    assert left == ["long-dsprites: training was begun", "one-dsprites: not begun"]
    assert all(job.process.poll() is not None for job in late.training)
    assert runner(cell("long-dsprites", "slow"), cell()).run() == []      # it goes on where it was


DRIVER = """
import sys
from pathlib import Path
from benchmarks.results.cells import Cell
from benchmarks.results.run import TRAINING, Runner, Tools
stub, folder = sys.argv[1:]
tools = Tools(*((sys.executable, stub, kind) for kind in ("train", "score", "agree", "floor")))
Runner([Cell("long-dsprites", "Long", "slow", "dsprites", steps=10)], [], (0, 1, 2), Path(folder) / "runs",
       Path(folder) / "results.json", ("cpu",), 1, 1, tools=tools).run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children end with a killed parent on Linux only")
def test_killed_at_any_moment_it_goes_on(runner, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "stub.py"), str(tmp_path)], cwd=ROOT)
    half = tmp_path / "runs" / "long-dsprites" / "state.safetensors"
    limit = time.monotonic() + 60
    while not half.exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    after = runner(cell("long-dsprites", "slow"))
    assert after.run() == [] and not after.failed
    assert len(calls(tmp_path, "train")) == 2
    time.sleep(0.3)
    orphans = subprocess.run(["pgrep", "-f", str(tmp_path / "stub.py")], capture_output=True, text=True)
    assert orphans.stdout == ""


def test_two_runs_do_not_share_a_cell(runner, tmp_path):
    folder = tmp_path / "runs" / "one-dsprites"
    folder.mkdir(parents=True)
    with locked(folder) as mine:
        assert mine
        second = runner(cell(), cell("two-dsprites"))
        assert second.run() == ["one-dsprites: not begun"] and not second.failed
    assert runner(cell()).run() == []


def test_floors_are_scored_once(runner, tmp_path):
    draws = [Floor("bent", "dsprites", draw) for draw in range(3)]
    assert runner(floors=draws).run() == []
    assert store.load(tmp_path / "results.json")["floors"] == {
        "dsprites": {"bent": {str(draw): {"MIG": 0.25} for draw in range(3)}}
    }
    runner(floors=draws).run()
    (tmp_path / "results.json").unlink()
    runner(floors=draws).run()
    assert len(calls(tmp_path, "floor")) == 3 and len(store.load(tmp_path / "results.json")["floors"]) == 1


def test_cells_are_begun_in_the_order_asked_for_then_long_ones_first():
    short, long = cell("short-dsprites", steps=5), cell("long-dsprites", steps=500)
    assert ordered((short, long), ()) == ordered((short, long), ("*",)) == [long, short]
    assert ordered((long, short), ("short*", "*")) == [short, long]
    assert ordered((long, short), ("short*",)) == [short]


def test_a_training_that_ended_unnoticed_is_not_made_again(runner, tmp_path):
    runner(cell()).run()
    made = tmp_path / "runs" / "one-dsprites" / run.MADE
    noted = json.loads(made.read_text())
    del noted["begun"]  # as of a version that did not note it
    made.write_text(json.dumps({name: noted[name] for name in ("command", "machine", "torch")}))  # as at its start
    (tmp_path / "results.json").unlink()
    runner(cell()).run()
    assert len(calls(tmp_path, "train")) == 1 and json.loads(made.read_text()) == noted
    (tmp_path / "results.json").unlink()
    (made.parent / "seed1" / "MANIFEST.json").unlink()  # the last file of a model folder: it was cut off
    runner(cell()).run()
    assert len(calls(tmp_path, "train")) == 2


def test_the_first_seeds_of_every_cell_are_scored_before_the_last_of_any(runner, tmp_path):
    runner(cell(), cell("two-dsprites"), jobs=2, evaluators=1).run()
    scored = [line.split()[1] for line in calls(tmp_path, "score")]
    assert len(scored) == 6 and {folder[-5:] for folder in scored[-2:]} == {"seed2"}


def test_a_cell_has_no_more_seeds_than_it_asks_for(runner, tmp_path):
    runner(cell(seeds=(1, 7))).run()
    assert list(store.load(tmp_path / "results.json")["cells"]["one-dsprites"]) == ["1"]


def test_devices_are_shared(runner, tmp_path):
    runner(cell(), jobs=1).run()
    second = run.environment("cuda:1", 3, tmp_path)
    assert second | {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "3"} == second
    assert run.environment("cpu", 1, tmp_path)["CUDA_VISIBLE_DEVICES"] == ""


def test_a_second_gpu_is_counted_among_the_visible_ones(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert run.environment("cuda:1", 1, Path())["CUDA_VISIBLE_DEVICES"] == "7"
    assert run.environment("cuda", 1, Path())["CUDA_VISIBLE_DEVICES"] == "5"


def test_processes_on_gpus_draw_pictures_once_for_all(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert run.environment("cuda:0", 1, Path("here"))[VARIABLE] == run.environment("cuda:1", 1, Path("here"))[VARIABLE]
    assert VARIABLE not in run.environment("cpu", 1, Path("here"))
    monkeypatch.setenv(VARIABLE, "elsewhere")
    assert run.environment("cuda:0", 1, Path("here"))[VARIABLE] == "elsewhere"


# --- the command

@pytest.fixture
def few(monkeypatch):
    """A table of three cells and a floor."""
    cells = (cell(), cell("two-dsprites"), cell("bad-dsprites", "broken"))
    monkeypatch.setattr(command, "table", lambda: cells)
    monkeypatch.setattr(command, "floors", lambda data: [Floor("noise", "dsprites", 0)])
    return cells


def options(tmp_path: Path, **more) -> command.Options:
    return command.Options(out=tmp_path / "runs", results=tmp_path / "results.json", seeds=(0, 1), **more)


def test_the_command_writes_the_table_and_its_exit_code_tells_of_failures(few, tools, tmp_path, capsys):
    assert command.main(options(tmp_path, only=("two*", "floor-noise-*"), steps=7), tools) == 0
    assert [line.split()[0] for line in calls(tmp_path, "train")] == ["train"]
    assert "--steps 7" in calls(tmp_path, "train")[0]
    page = (tmp_path / "results.md").read_text()
    assert "| Two | 0.05 ± 0.07 | 20.50 ± 0.00 | 4.00 ± 0.00 | 2 |" in page and "noise, 10 latents | 0.25 |" in page
    assert command.main(options(tmp_path, only=("one*", "bad*")), tools) == 1
    told = capsys.readouterr().out
    assert "Failed (1)" in told and "the loss is not a number" in told and "bad-dsprites: not begun" in told


def test_the_command_ends_well_when_time_is_up(few, tools, tmp_path, capsys):
    assert command.main(options(tmp_path, until=0.0), tools) == 0
    assert calls(tmp_path) == [] and "Left (4)" in capsys.readouterr().out
    assert (tmp_path / "results.md").exists()


def test_report_and_merge_run_nothing(few, tools, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"cells": {"one-dsprites": {"0": made(0.2)}}, "floors": {}}))
    (tmp_path / "other.json").write_text(json.dumps({"cells": {"one-dsprites": {"1": made(0.4)}}, "floors": {}}))
    assert command.main(options(tmp_path, report=True), tools) == 0
    assert "| One | 0.20 |" in (tmp_path / "results.md").read_text()
    assert command.main(options(tmp_path, merge=(tmp_path / "other.json",)), tools) == 0
    assert "| One | 0.30 ± 0.14 |" in (tmp_path / "results.md").read_text()
    assert calls(tmp_path) == []


# --- merging

def test_partial_results_add_up(tmp_path):
    path = tmp_path / "results.json"
    store.update(path, {"cells": {"a": {"0": made(0.1)}, "b": {"0": made(0.2)}}, "floors": {"d": {"noise": {"0": {}}}}})
    store.update(path, {"cells": {"a": {"1": made(0.3)}}, "floors": {"d": {"noise": {"1": {}}, "bent": {"0": {}}}}})
    stored = store.load(path)
    assert {name: list(entries) for name, entries in stored["cells"].items()} == {"a": ["0", "1"], "b": ["0"]}
    assert stored["floors"] == {"d": {"noise": {"0": {}, "1": {}}, "bent": {"0": {}}}}
    before = path.stat().st_mtime_ns
    assert store.update(path, NOTHING) == stored and path.stat().st_mtime_ns == before


def test_a_new_entry_replaces_an_old_one_and_ends_a_configuration():
    old = {"cells": {"a": {"0": made(0.1), "1": made(0.2)}}, "floors": {}}
    newer = store.merged(old, {"cells": {"a": {"0": made(0.9)}}, "floors": {}})["cells"]["a"]
    assert (newer["0"]["scores"]["MIG"], newer["1"]["scores"]["MIG"]) == (0.9, 0.2)
    more = store.merged(old, {"cells": {"a": {"2": made(0.9, "train --seeds 2 3")}}, "floors": {}})["cells"]["a"]
    assert list(more) == ["0", "1", "2"]                                  # other seeds of the same options
    other = store.merged(old, {"cells": {"a": {"0": made(0.9, "train --seeds 0 1 --beta 2")}}, "floors": {}})
    assert list(other["cells"]["a"]) == ["0"] and list(old["cells"]["a"]) == ["0", "1"]


def test_scores_are_not_lost_to_the_same_seed_trained_again():
    old = {"cells": {"a": {"0": made(0.1), "1": made(0.2) | {"scored": False}}}, "floors": {}}
    new = {"cells": {"a": {seed: made(0.9) | {"scored": False} for seed in "012"}}, "floors": {}}
    entries = store.merged(old, new)["cells"]["a"]
    assert [entries[seed]["scores"]["MIG"] for seed in "012"] == [0.1, 0.9, 0.9]


# --- choosing without labels

class Levels(Grid):
    """Grey pictures of two factors."""

    name, channels, origin = "levels", 1, "Made by a test."
    factors = (KnownFactor("top", tuple(range(6))), KnownFactor("low", tuple(range(6))))

    def images(self, index):
        halves = self.classes(index).float() * 255 / (self.factors[0].size - 1)
        return halves[:, torch.arange(64) // 32][:, None, :, None].expand(-1, 1, 64, 64).to(torch.uint8)


def test_agreement_is_the_udr_of_the_models_codes(tmp_path, monkeypatch):
    class Fine(Levels):
        factors = (KnownFactor("top", tuple(range(50))), KnownFactor("low", tuple(range(50))))

    monkeypatch.setattr(agreement, "load", lambda name: Fine())  # 50 images of it are held out
    folders = [save_tiny(tmp_path / f"seed{seed}", seed % 2, channels=1, data="levels") for seed in range(3)]
    found = agreement.agreement(folders)
    assert list(found) == ["seed0", "seed1", "seed2"] and found["seed0"]["informative by"] == "KL"
    assert found["seed0"]["udr"] == found["seed2"]["udr"] > found["seed1"]["udr"]  # 0 and 2 are the same model
    assert agreement.agreement(folders[:1])["seed0"]["udr"] is None


def test_agreement_without_a_posterior_goes_by_the_range():
    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([4.0, 4.0, 0.0, 0.1]))

        def layout(self):
            return tuple(Slot(j, j + 1) for j in range(4))

        def represent(self, x):
            return x[:, 0, [0, 63, 0, 0], 0] * self.scale

    codes, kl, source = agreement.latents(Reader(), Levels().images(torch.arange(36)))
    assert source == "range" and (kl > metrics.INFORMATIVE).tolist() == [True, True, False, False]
    assert codes.shape == (36, 4)


# --- floors

def test_factors_are_standardised():
    grid = floors.standard(Levels(), torch.arange(36))
    assert grid.mean(0) == pytest.approx([0, 0]) and grid.std(0) == pytest.approx([1, 1])

    class Smooth(Dataset):
        name, channels, origin = "smooth", 1, "Made by a test."
        factors = (KnownFactor("a", low=-3.0, high=5.0),)
        __len__ = images = None

        def labels(self, index):
            return torch.linspace(-3, 5, 1001)[index][:, None]

    smooth = floors.standard(Smooth(), torch.arange(1001))
    assert smooth.mean() == pytest.approx(0, abs=1e-6) and smooth.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", floors.CODES)
def test_codes_are_seeded(name):
    factors = np.random.default_rng(0).normal(size=(200, 3))
    _, code, draws = floors.CODES[name]
    assert np.array_equal(code(factors, 0), code(factors, 0))
    assert np.array_equal(code(factors, 0), code(factors, 1)) == (name in ("perfect", "doubled"))
    assert (draws > 1) == (name in ("rotated", "bent"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # a perfect code has no best classifier
def test_a_floor_is_scored_like_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "TRAIN", 600)
    monkeypatch.setattr(evaluate, "TEST", 300)
    for name in ("factor_vae", "beta_vae"):
        whole = getattr(metrics, name)
        monkeypatch.setattr(metrics, name, lambda r, s, whole=whole: whole(r, s, 200, 100))
    monkeypatch.setattr(floors, "load", lambda name: Levels())
    scores = {}
    for code in ("perfect", "doubled", "noise"):
        file = tmp_path / f"{code}.json"
        monkeypatch.setattr(sys, "argv", ["floors", "levels", code, "0", str(file)])
        floors.main()
        scores[code] = json.loads(file.read_text())
    assert scores["perfect"]["MIG"] > 0.95 and scores["perfect"]["FactorVAE"] == scores["doubled"]["FactorVAE"] == 1
    assert scores["doubled"]["MIG"] == 0 and scores["noise"]["modularity"] < 0.99 < scores["doubled"]["modularity"]
    assert set(scores["noise"]) | {"psnr held out", "factors"} >= set(COLUMNS.values())


# --- the page

def test_means_and_deviations_by_hand():
    assert spread([0.2, 0.4, 0.9]) == (pytest.approx(0.5), pytest.approx((0.13)**0.5))  # (.09 + .01 + .16) / 2
    assert text(*spread([0.2, 0.4, 0.9])) == "0.50 ± 0.36"
    assert text(*spread([0.25])) == "0.25" and text(*spread([])) == "–"
    assert text(-0.001, 0.1, sign="+") == "+0.00 ± 0.10" and text(-0.1, None, sign="+") == "-0.10"
    rows = [[(1.0, None), (None, None)], [(2.0, 0.5), (3.0, None)]]
    assert bold(rows, ("MIG", "PSNR")) == [["1.00", "–"], ["**2.00 ± 0.50**", "**3.00**"]]
    assert bold(rows, ("MIG", "factors")) == [["1.00", "–"], ["**2.00 ± 0.50**", "3.00"]]  # no score
    assert bold(rows[:1], ("MIG", "PSNR")) == [["1.00", "–"]]


def test_the_committed_page_is_what_the_committed_numbers_say():
    """After a change of cells.py or results.json: python -m benchmarks.results --report."""
    assert report(store.load(store.RESULTS), table()) == store.RESULTS.with_suffix(".md").read_text(encoding="utf-8")


@pytest.fixture
def page():
    cells = (
        cell(), cell("two-dsprites"), cell("three-dsprites"),
        replace(cell("without-dsprites"), full="one-dsprites", label="without it"),
    )
    command = {c.name: c.command((0, 1)) for c in cells}
    results = {"floors": {"dsprites": {"noise": {"0": SCORES}}}, "cells": {
        "one-dsprites": {
            "0": made(0.2, command["one-dsprites"], udr=0.3, **{"final loss": 1.0}),
            "1": made(0.4, command["one-dsprites"], udr=0.1, **{"final loss": 2.0}),
        },
        "two-dsprites": {"1": made(0.1, "python -m engine.train old", **{"informative by": "range"})},
        "without-dsprites": {
            "0": made(0.5, command["without-dsprites"]), "1": made(0.5, command["without-dsprites"]),
        },
    }}
    return results, cells


def test_the_page_is_the_same_for_the_same_numbers(page):
    results, cells = page
    shuffled = json.loads(json.dumps(results))
    shuffled["cells"]["one-dsprites"] = dict(reversed(shuffled["cells"]["one-dsprites"].items()))
    assert report(results, cells) == report(shuffled, cells) == report(results, cells)


def test_the_page_tells_trained_seeds_from_scored_ones():
    half = {"0": made(0.2), "1": made(0.4, scored=False, scores={"MIG": 0.6})}
    text = report({"cells": {"one-dsprites": half}, "floors": {}}, [cell()])
    assert "| One | 0.20 | 0.40 ± 0.28 |" in text and "| 2 (1) |" in text
    assert "- One: 1 of 5 seeds scored; `python -m benchmarks.results --only one-dsprites`" in text


def test_the_page_has_every_number(page):
    text = report(*page)
    assert "| One | **0.30 ± 0.14** |" in text and "| Two | 0.10 |" in text
    assert "| One | UDR | 0 | 0.20 |" in text and "| One | loss | 0 | 0.20 |" in text
    assert "| One | labels | 1 | 0.40 |" in text and "| Two | UDR" not in text
    assert "- Three: not run; `python -m benchmarks.results --only three-dsprites`" in text
    assert "- Two: 1 of 5 seeds scored;" in text
    assert "- Two was run with other options" in text and "- One was run with other options" not in text
    assert "- Two has no posterior over its code" in text and "- One has no posterior" not in text
    assert "| noise, 10 latents | 0.50 |" in text and "Floors not run: perfect, doubled, rotated, bent:" in text
    assert "| One, full | 0.30 ± 0.14 | 0.30 ± 0.14 | 0.30 ± 0.14 | 2 |" in text
    assert "| without it | +0.20 ± 0.14 | +0.20 ± 0.14 | +0.20 ± 0.14 | 2 |" in text
    assert "(10 steps of 64 images; CPU, torch 2): `python -m engine.train old`" in text


def test_what_begins_with_the_frozen_model_is_compared_with_a_control_of_as_many_steps():
    cells = {cell.name: cell for cell in table()}
    begun = [cell for cell in cells.values() if "--begin-from" in cell.options]
    [control] = [cell for cell in begun if not cells[cell.full].full]
    assert cells[control.full].steps > control.steps and len(begun) > 1
    for cell in begun:
        assert cell is control or (cell.full == control.name and cell.steps == control.steps)
        assert cell.options.startswith(control.options) and cell.seeds == control.seeds
    page = report(store.load(store.RESULTS), table())
    assert f"| {control.label}, full | " in page and page.count(f"### {control.label} on ") == 1
    [heading] = [line for line in page.splitlines() if line.startswith("## Ablations of ")]
    assert control.label not in heading and cells[control.full].label in heading


@pytest.mark.parametrize("stale", ["one-dsprites", "without-dsprites"])
def test_an_ablation_is_not_compared_across_options(page, stale):
    results, cells = page
    for made_by_now in results["cells"][stale].values():
        made_by_now["command"] = "python -m engine.train old"
    text = report(results, cells)
    assert "| without it |" not in text
    assert f"not run; `python -m benchmarks.results --only {stale}`" in text


def test_infomec_that_did_not_know_discrete_latents_is_told_where_it_is_missing(page):
    results, cells = page
    words = "- Two was scored before InfoMEC knew discrete latents"
    assert words not in report(results, cells)
    del results["cells"]["two-dsprites"]["1"]["scores"]["Info explicitness"]
    assert words in report(results, cells)


@pytest.mark.parametrize("change", [{"command": "one"}, {"begun": "2001-02-03 04:05:06"}])
def test_seeds_trained_apart_are_not_chosen_by_udr(page, change):
    results, cells = page
    entries = results["cells"]["one-dsprites"]
    assert "| One | UDR" in report(results, cells)
    entries["1"] |= {"command": cells[0].command((1,))} if "command" in change else change
    text = report(results, cells)
    assert "| One | UDR" not in text and "| One | loss | 0" in text


def test_published_numbers_have_a_source_and_stand_apart():
    for rows in PUBLISHED.values():
        for row in rows:
            assert row.source in NOTES and row.scores.keys() <= COLUMNS.keys()
            assert all(0 <= mean <= 1 for mean, _ in row.scores.values())
    text = report(NOTHING, table())
    assert "| EncDiff | 0.999 ± 0.000 | – | 0.969 ± 0.030 |" in text
    assert "| OAT | 0.72 ± 0.11 | 0.27 ± 0.13 | 0.78 ± 0.01 | – | OAT" in text


# --- the list of cells

def test_cells_have_names_of_their_own():
    names = [cell.name for cell in table()]
    assert len(set(names)) == len(names)
    assert {cell.data for cell in table()} == set(DATA) and len(SEEDS) == 5
    assert {cell.full for cell in table()} - {""} <= set(names)


@pytest.mark.parametrize("cell", table(), ids=lambda cell: cell.name)
def test_engine_train_understands_every_cell(cell):
    cls, _, plan = parse(cell.arguments(SEEDS, "somewhere"))
    assert (cls.name, plan.data, plan.seeds, plan.steps) == (cell.method, cell.data, SEEDS, cell.steps)


def test_cells_are_chosen_by_pattern():
    assert chosen("protovae-faces", ()) and chosen("protovae-faces", ("vae-*", "protovae-*"))
    assert not chosen("beta-vae-faces", ("vae-*",))
