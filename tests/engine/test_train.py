"""Training runs: what decides them, and that an interruption of any kind changes nothing."""

import json
import math
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
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine import checkpoint, export, train
from engine.method import initialised
from engine.methods import protovae, vae
from engine.train import Plan, Trainer, fit, parse

ROOT = Path(__file__).parents[2]
SMALL = vae.Config(latents=3, encoder_width=4, decoder_width=4)
STAGED = protovae.Config(
    latents=3, encoder_width=4, decoder_width=4, shots=2, queries=1,
    embedder_from=3, prototypes_from=4, prototypes_full=6, active_on=0.0, active_off=0.0,
)


class Interrupted(Exception):
    """What ends a run in the middle."""


@pytest.fixture
def plan(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Eight steps on the CPU."""
    monkeypatch.setattr(export, "MEASURED", 64)
    return Plan(
        data=str(pictures), out=tmp_path / "run", steps=8, batch=4, device="cpu", log_every=1, save_every=2,
    )


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Stop the next run before step `at`."""
    advance = Trainer.advance

    def stopping(self, number):
        if number == at:
            raise Interrupted
        advance(self, number)

    monkeypatch.setattr(Trainer, "advance", stopping)


def state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "state.safetensors")


def losses(out: Path) -> list[tuple]:
    return [(row["step"], row["terms"]) for row in json.loads((out / "log.json").read_text())]


def same_run(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same losses, weights, optimiser and generator, to the last bit."""
    first, second = state(a), state(b)
    return losses(a) == losses(b) and first.keys() == second.keys() and all(
        torch.equal(first[k], second[k]) for k in first
    )


# ------------------------------------------------------------------------------------------------
# The command line

def test_options_become_dataclasses():
    cls, config, plan = parse(
        "vae --data shapes3d --seeds 3 5 --steps 100 --batch 8 --lr 0.01 --out some/where --no-capture "
        "--objective tc --beta 4 --encoder-width 16".split()
    )
    assert cls is vae.VAE
    assert config == replace(vae.Config(), objective="tc", beta=4.0, encoder_width=16)
    assert plan == Plan(data="shapes3d", seeds=(3, 5), steps=100, batch=8, lr=0.01, out=Path("some/where"),
                        capture=False)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--data", "shapes3d"], ["diffusion", "--data", "shapes3d"]])
def test_without_a_known_method_the_known_ones_are_told(arguments):
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert "vae" in str(caught.value) and "protovae" in str(caught.value)


@pytest.mark.parametrize("arguments", ["", "--data shapes3d --steps many", "--data shapes3d --objective best",
                                       "--data shapes3d --unheard-of 1"])
def test_options_that_are_none_end_with_a_message(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["vae", *arguments.split()])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out + printed.err and "Traceback" not in printed.out + printed.err


def test_a_dry_run_prints_what_would_be_trained_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", "train protovae --data no/such/folder --dry-run --seeds 1 2".split())
    train.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["method"] == "protovae" and printed["data"] == "no/such/folder" and printed["seeds"] == [1, 2]
    assert printed["model"]["prototypes_from"] == protovae.Config().prototypes_from
    assert {k for k in printed if k != "model"} == {"method", *vars(Plan(data=""))}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("change", "named"), [
    ({"log_every": 3, "save_every": 4}, "multiple of --log-every"), ({"log_every": 0}, "--log-every"),
    ({"steps": 0}, "--steps"), ({"batch": 1}, "--batch"), ({"lr": math.nan}, "--lr"), ({"starts": 0}, "--starts"),
    ({"starts": 2, "start_steps": 8}, "--start-steps"), ({"starts": 2, "start_steps": 0}, "--start-steps"),
    ({"seeds": ()}, "seed"), ({"seeds": (1, 2, 1)}, "--seeds"),
    ({"starts": 2, "start_steps": 4, "begin_from": Path("anywhere")}, "--begin-from"),
    ({"begin_parts": ("encoder",)}, "--begin-parts"),
])
def test_plans_that_cannot_be_kept_are_refused(plan, change, named):
    with pytest.raises(ValueError, match=named):
        fit(vae.VAE, SMALL, replace(plan, **change))
    assert not plan.out.exists()


def test_an_unknown_data_set_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "vae", "--data", "no/such/folder"])
    with pytest.raises(SystemExit, match="Unknown data set"):
        train.main()


# ------------------------------------------------------------------------------------------------
# A run

def test_a_run_learns_logs_and_exports(plan, capsys):
    longer = replace(plan, steps=60, log_every=10, save_every=20, seeds=(4, 7), lr=5e-3)
    folders = fit(vae.VAE, SMALL, longer)
    assert folders == [plan.out / "seed4", plan.out / "seed7"]
    log = json.loads((plan.out / "log.json").read_text())
    assert [row["step"] for row in log] == [10, 20, 30, 40, 50, 60]
    assert all(row["images_per_s"] > 0 and len(row["terms"]) == 2 for row in log)
    for seed in range(2):
        assert log[-1]["terms"][seed]["loss"] < log[0]["terms"][seed]["loss"] - 50
    printed = capsys.readouterr()
    assert printed.out == "" and "60/60" in printed.err and "images/s" in printed.err
    assert {p.name for p in plan.out.iterdir()} == {"state.safetensors", "log.json", "seed4", "seed7", train.LOCK}
    final = state(plan.out)
    for folder, seed in zip(folders, (4, 7), strict=True):
        model, _, config = checkpoint.load(folder)
        assert config["method"] == "vae" and config["data"] == str(Path(plan.data).absolute())
        weights = {k: final[f"{seed}.model.{k}"].to(model.stored).float() for k in model.state_dict()}
        assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_a_row_of_the_log_is_the_mean_since_the_last(plan, tmp_path):
    fit(vae.VAE, SMALL, plan)
    fit(vae.VAE, SMALL, replace(plan, out=tmp_path / "coarse", log_every=4, save_every=4))
    every = [terms[0]["loss"] for _, terms in losses(plan.out)]
    coarse = [terms[0]["loss"] for _, terms in losses(tmp_path / "coarse")]
    assert coarse == pytest.approx([np.mean(every[:4]), np.mean(every[4:])], rel=1e-6)


def test_the_learning_rate_falls_on_a_cosine_to_nothing(plan, monkeypatch):
    rates = []
    advance = train.Run.advance

    def noted(self, *arguments):
        advance(self, *arguments)
        rates.append(self.lr.item())

    monkeypatch.setattr(train.Run, "advance", noted)
    fit(vae.VAE, SMALL, plan)
    assert rates == pytest.approx([1e-3 * 0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(8)], rel=1e-5)


def test_a_seed_does_not_depend_on_its_neighbours(plan, tmp_path):
    fit(vae.VAE, SMALL, replace(plan, seeds=(2, 11, 1)))
    together = state(plan.out)
    for seed in (1, 11):
        alone = tmp_path / f"alone{seed}"
        torch.manual_seed(999 + seed)  # nor on anything else that draws numbers
        fit(vae.VAE, SMALL, replace(plan, seeds=(seed,), out=alone))
        assert state(alone) and all(torch.equal(v, together[k]) for k, v in state(alone).items())
    assert not torch.equal(together["1.model.encoder.head.weight"], together["11.model.encoder.head.weight"])


# ------------------------------------------------------------------------------------------------
# Starts

def test_of_several_starts_the_one_with_the_lowest_loss_goes_on(plan, tmp_path):
    fit(vae.VAE, SMALL, replace(plan, seeds=(0, 5), starts=3, start_steps=6, lr=1e-2))
    tried = losses(plan.out)[:3]
    assert [row["start"] for row in json.loads((plan.out / "log.json").read_text())[:3]] == [0, 1, 2]
    assert len({row[i]["loss"] for _, row in tried for i in range(2)}) == 6
    chosen = [int(np.argmin([row[i]["loss"] for _, row in tried])) for i in range(2)]
    ended = state(plan.out)
    for seed, start in zip((0, 5), chosen, strict=True):
        number = seed + start * train.APART
        fit(vae.VAE, SMALL, replace(plan, seeds=(number,), lr=1e-2, out=tmp_path / f"alone{seed}"))
        alone = {k.split(".", 1)[1]: v for k, v in state(tmp_path / f"alone{seed}").items()}
        assert all(torch.equal(v, ended[f"{seed}.{k}"]) for k, v in alone.items())
        judged = [row[0]["loss"] for _, row in losses(tmp_path / f"alone{seed}")][4:6]  # the last third of six steps
        assert tried[start][1][(0, 5).index(seed)]["loss"] == pytest.approx(np.mean(judged))


def test_starts_make_their_steps_in_the_stages_of_a_run(plan, monkeypatch):
    stages, advance = [], train.Run.advance
    monkeypatch.setattr(train.Run, "advance", lambda self, draw, step, stage: (
        stages.append((step.item(), stage)), advance(self, draw, step, stage)))
    fit(protovae.ProtoVAE, STAGED, replace(plan, starts=2, start_steps=4))
    assert stages == [(k, int(k >= 3)) for k in (*range(4), *range(4), *range(4, 8))]


@pytest.mark.parametrize("at", [3, 9, 13, 15])
def test_interrupted_starts_end_as_if_they_had_not_been(plan, tmp_path, monkeypatch, at):
    whole = replace(plan, starts=3, start_steps=4, out=tmp_path / "whole")
    fit(protovae.ProtoVAE, STAGED, whole)
    broken, count, advance = replace(whole, out=plan.out), [0], train.Run.advance

    def short(self, *arguments):
        count[0] += 1
        if count[0] > at:
            raise Interrupted
        advance(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "advance", short)
        with pytest.raises(Interrupted):
            fit(protovae.ProtoVAE, STAGED, broken)
    assert (plan.out / "state.safetensors").exists() == (at > 12)
    fit(protovae.ProtoVAE, STAGED, broken)
    assert same_run(whole.out, broken.out)


def test_starts_without_a_finite_loss_end_with_a_sentence(plan):
    with pytest.raises(ValueError, match="finite loss"):
        fit(vae.VAE, replace(SMALL, beta=math.nan), replace(plan, starts=2, start_steps=4))


def test_a_run_begins_with_the_weights_of_a_folder_and_its_card_tells_both_commands(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", "train vae --first".split())
    [first] = fit(vae.VAE, SMALL, plan)
    monkeypatch.setattr(sys, "argv", "train vae --second".split())
    later = replace(plan, begin_from=first, out=tmp_path / "later", lr=0.0)  # at which nothing moves
    [second] = fit(vae.VAE, SMALL, later)
    known = checkpoint.load(first)[0].state_dict()
    assert all(torch.equal(t, known[name]) for name, t in checkpoint.load(second)[0].state_dict().items())
    assert checkpoint.commands(second) == ["python -m engine.train vae --first",
                                           "python -m engine.train vae --second"]
    assert (second / "card.md").read_text().count("python -m engine.train") == 2


def test_weights_to_begin_with_are_part_of_what_a_run_was_made_with(plan, tmp_path):
    first, other = fit(vae.VAE, SMALL, replace(plan, seeds=(0, 1)))
    later = replace(plan, begin_from=first, out=tmp_path / "later")
    fit(vae.VAE, SMALL, later)
    moved = first.rename(tmp_path / "elsewhere")
    fit(vae.VAE, SMALL, replace(later, begin_from=moved))  # the same weights: nothing to be refused
    with pytest.raises(ValueError, match=r"other options .begin_from"):
        fit(vae.VAE, SMALL, replace(later, begin_from=other))


def test_parts_that_only_training_needs_are_not_asked_of_a_folder(plan, tmp_path):
    [first] = fit(protovae.ProtoVAE, STAGED, plan)
    assert protovae.ProtoVAE.training_only
    [second] = fit(protovae.ProtoVAE, STAGED, replace(plan, begin_from=first, out=tmp_path / "later"))
    assert checkpoint.load(second)[0].name == "protovae"


def test_a_run_may_begin_with_some_parts_of_a_folder_whatever_the_others_are(plan, tmp_path):
    [first] = fit(vae.VAE, SMALL, plan)
    wider = replace(SMALL, decoder_width=2 * SMALL.decoder_width)
    later = replace(plan, begin_from=first, begin_parts=("encoder",), out=tmp_path / "later", lr=0.0)
    [second] = fit(vae.VAE, wider, later)
    given, own = (checkpoint.load(folder)[0].state_dict() for folder in (first, second))
    fresh = initialised(vae.VAE, wider, 3, 0).half().float().state_dict()
    assert {name.split(".")[0] for name in own} >= {"encoder", "decoder"}
    for name, tensor in own.items():
        assert torch.equal(tensor, given[name] if name.startswith("encoder.") else fresh[name]), name
    with pytest.raises(ValueError, match=r"other options .begin_parts, decoder_width"):
        fit(vae.VAE, SMALL, replace(later, begin_parts=("encoder", "decoder")))


@pytest.mark.parametrize(("parts", "config", "reason"), [
    (("encoder", "wings"), SMALL, "no part called wings, but decoder, encoder"),
    (("decoder",), replace(SMALL, decoder_width=2 * SMALL.decoder_width), "holds other nets"),
])
def test_parts_that_a_folder_has_not_are_refused(plan, tmp_path, parts, config, reason):
    [first] = fit(vae.VAE, SMALL, plan)
    with pytest.raises(ValueError, match=reason):
        fit(vae.VAE, config, replace(plan, begin_from=first, begin_parts=parts, out=tmp_path / "later"))


@pytest.mark.parametrize(("cls", "config"), [
    (vae.VAE, replace(SMALL, latents=4)), (protovae.ProtoVAE, STAGED),
], ids=["wider", "another method"])
def test_other_nets_than_those_to_begin_with_are_refused(plan, tmp_path, cls, config):
    [first] = fit(vae.VAE, SMALL, plan)
    with pytest.raises(ValueError, match="holds other nets"):
        fit(cls, config, replace(plan, begin_from=first, out=tmp_path / "later"))


@pytest.mark.parametrize("option", ["", " --dry-run"])
def test_a_folder_to_begin_with_that_is_none_is_one_sentence(monkeypatch, tmp_path, pictures, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", f"train vae --data {pictures} --begin-from no/such{option}".split())
    with pytest.raises(SystemExit, match=r"MANIFEST\.json is missing"):
        train.main()


# ------------------------------------------------------------------------------------------------
# Interruptions

@pytest.mark.parametrize(("cls", "config"), [(vae.VAE, SMALL), (protovae.ProtoVAE, STAGED)], ids=["vae", "protovae"])
@pytest.mark.parametrize("at", [1, 3, 7])
def test_an_interrupted_run_ends_as_if_it_had_not_been(plan, tmp_path, monkeypatch, cls, config, at):
    whole = replace(plan, seeds=(0, 5), out=tmp_path / "whole")
    fit(cls, config, whole)
    broken = replace(whole, out=plan.out)
    with monkeypatch.context() as patch:
        interrupt(patch, at)
        with pytest.raises(Interrupted):
            fit(cls, config, broken)
    assert (plan.out / "state.safetensors").exists() == (at >= 2)
    fit(cls, config, broken)
    assert same_run(whole.out, broken.out)
    for seed in ("seed0", "seed5"):
        for name in ("model.safetensors", "factors.json", "config.json"):
            assert (whole.out / seed / name).read_bytes() == (broken.out / seed / name).read_bytes()


def test_stages_begin_where_they_should_also_after_a_resumption(plan, monkeypatch):
    assert protovae.ProtoVAE(STAGED, 3).stages() == (3,)
    stages, advance = [], train.Run.advance
    monkeypatch.setattr(train.Run, "advance", lambda self, draw, step, stage: (
        stages.append((step.item(), stage)), advance(self, draw, step, stage)))
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        with pytest.raises(Interrupted):
            fit(protovae.ProtoVAE, STAGED, plan)
    fit(protovae.ProtoVAE, STAGED, plan)
    assert stages == [(k, int(k >= 3)) for k in (*range(5), *range(4, 8))]
    terms = [set(row[0]) for _, row in losses(plan.out)]
    assert all(("prototype" in names) == (step >= 3) for step, names in enumerate(terms))


def test_a_finished_run_exports_again_without_training(plan, monkeypatch):
    fit(vae.VAE, SMALL, plan)
    before = state(plan.out)
    card = plan.out / "seed0" / "model.safetensors"
    weights = card.read_bytes()
    card.write_bytes(b"damaged")
    interrupt(monkeypatch, 0)
    monkeypatch.setattr(train.Run, "advance", lambda *_: pytest.fail("trained"))
    assert fit(vae.VAE, SMALL, plan) == [plan.out / "seed0"]
    assert card.read_bytes() == weights and len(losses(plan.out)) == 8
    assert all(torch.equal(v, before[k]) for k, v in state(plan.out).items())


@pytest.mark.parametrize(("options", "model", "named"), [
    ({"lr": 1e-2}, {}, "lr"), ({"steps": 9, "batch": 5}, {}, "steps, batch"), ({"seeds": (0, 1)}, {}, "seeds"),
    ({"seeds": (3,)}, {}, "seeds"), ({}, {"beta": 4.0}, "beta"), ({}, {"latents": 4}, "latents"),
])
def test_other_options_are_refused_by_name(plan, options, model, named):
    fit(vae.VAE, SMALL, plan)
    before = (plan.out / "state.safetensors").read_bytes()
    with pytest.raises(ValueError, match="made with other options") as caught:
        fit(vae.VAE, replace(SMALL, **model), replace(plan, **options))
    assert f"({named})" in str(caught.value) and str(plan.out / "state.safetensors") in str(caught.value)
    assert (plan.out / "state.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="method"):
        fit(protovae.ProtoVAE, STAGED, plan)


def test_where_it_runs_is_free_to_change(plan):
    fit(vae.VAE, SMALL, plan)
    moved = plan.out.rename(plan.out.with_name("moved"))
    assert fit(vae.VAE, SMALL, replace(plan, out=moved, device="auto" if not torch.cuda.is_available() else "cpu"))


def test_random_numbers_of_another_kind_of_device_are_not_called_damage(plan):
    fit(vae.VAE, SMALL, plan)
    path = plan.out / "state.safetensors"
    with safe_open(path, "pt") as file:
        about = file.metadata()
    kept = load_file(path)
    other = {name: torch.zeros(16, dtype=torch.uint8) if name.endswith(".generator") else t for name, t in kept.items()}
    save_file(other, path, about)
    with pytest.raises(ValueError, match=r"saved on another kind of device; go on there"):
        fit(vae.VAE, SMALL, plan)


def test_one_picture_is_too_few(plan, tmp_path):
    (tmp_path / "one").mkdir()
    first = next(iter(sorted(Path(plan.data).iterdir())))
    (tmp_path / "one" / first.name).write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="one picture; training takes two"):
        fit(vae.VAE, SMALL, replace(plan, data=str(tmp_path / "one")))


def test_a_half_written_state_beside_the_whole_one_does_no_harm(plan, tmp_path, monkeypatch):
    whole = replace(plan, out=tmp_path / "whole")
    fit(vae.VAE, SMALL, whole)
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        with pytest.raises(Interrupted):
            fit(vae.VAE, SMALL, plan)
    data = (plan.out / "state.safetensors").read_bytes()
    (plan.out / "state.safetensors.partial").write_bytes(data[:len(data) // 2])
    fit(vae.VAE, SMALL, plan)
    assert same_run(whole.out, plan.out)
    assert not (plan.out / "state.safetensors.partial").exists()


def damages(path: Path) -> dict[str, bytes]:
    """What a state file may have become, by kind."""
    whole, tensors = path.read_bytes(), load_file(path)
    size = int.from_bytes(whole[:8], "little")
    metadata = json.loads(whole[8:8 + size])["__metadata__"]
    fewer = dict(list(tensors.items())[1:])
    result = {"empty": b"", "truncated": whole[:-100], "cut header": whole[:50], "text": b"hello " * 100}
    for name, content, about in (
        ("no metadata", tensors, None), ("no step", tensors, {k: v for k, v in metadata.items() if k != "step"}),
        ("odd plan", tensors, metadata | {"plan": "[]"}), ("no plan", tensors, metadata | {"plan": "{"}),
        ("odd step", tensors, metadata | {"step": "many"}), ("missing tensor", fewer, metadata),
        ("another shape", tensors | {"0.model.encoder.head.bias": torch.zeros(9)}, metadata),
    ):
        save_file(content, path.with_name("forged"), about)
        result[name] = path.with_name("forged").read_bytes()
    path.with_name("forged").unlink()
    return result


def test_a_run_goes_on_that_was_begun_before_an_option_was_known(plan, monkeypatch):
    whole = train.resolved
    with monkeypatch.context() as older:
        older.setattr(train, "resolved", lambda *a: {k: v for k, v in whole(*a).items() if k != "begin_parts"})
        [folder] = fit(vae.VAE, SMALL, plan)
    assert fit(vae.VAE, SMALL, plan) == [folder]
    with pytest.raises(ValueError, match=r"other options .begin_from, begin_parts"):
        fit(vae.VAE, SMALL, replace(plan, begin_from=folder, begin_parts=("encoder",)))


def test_a_damaged_state_is_one_clear_sentence(plan, monkeypatch):
    fit(vae.VAE, SMALL, plan)
    path = plan.out / "state.safetensors"
    command = (f"train vae --data {plan.data} --out {plan.out} --steps 8 --batch 4 --device cpu --log-every 1 "
               "--save-every 2 --latents 3 --encoder-width 4 --decoder-width 4")
    monkeypatch.setattr(sys, "argv", command.split())
    whole = path.read_bytes()
    train.main()  # the command does fit the run
    for kind, data in damages(path).items():
        path.write_bytes(data)
        with pytest.raises(SystemExit) as caught:
            train.main()
        message = str(caught.value)
        assert message.startswith(f"{path} is damaged") and message.endswith("delete it to begin again."), kind
        assert "\n" not in message and path.read_bytes() == data, kind
    path.write_bytes(whole)
    train.main()


def test_a_killed_run_goes_on_where_it_was_saved(pictures, tmp_path):
    """kill -9 in the middle, then the same command: the losses and weights of an undisturbed run."""
    program = "from engine import export, train; export.MEASURED = 64; train.main()"

    def start(out: Path) -> subprocess.Popen:
        options = (f"vae --data {pictures} --out {out} --steps 300 --batch 4 --device cpu --log-every 5 --save-every 5 "
                   "--latents 3 --encoder-width 4 --decoder-width 4")
        return subprocess.Popen(
            [sys.executable, "-c", program, *options.split()], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def finish(process: subprocess.Popen) -> None:
        output, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        assert output.split() == [str(Path(process.args[process.args.index("--out") + 1]) / "seed0")]

    undisturbed = start(tmp_path / "whole")
    broken = start(tmp_path / "broken")
    saved, end = tmp_path / "broken" / "state.safetensors", time.monotonic() + 100
    while not saved.exists():
        assert broken.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    assert not (tmp_path / "broken" / "log.json").exists()  # it had not come to its end
    load_file(saved)
    finish(start(tmp_path / "broken"))
    finish(undisturbed)
    assert [step for step, _ in losses(tmp_path / "whole")] == list(range(5, 301, 5))
    assert same_run(tmp_path / "whole", tmp_path / "broken")


def test_two_processes_do_not_train_in_one_folder(plan, monkeypatch):
    """They would overwrite each other's states and models without a word."""
    advance = Trainer.advance

    def meanwhile(trainer, number):
        if number == 0:
            with pytest.raises(ValueError, match=r"Another process is training in .*choose another --out"):
                fit(vae.VAE, SMALL, plan)
        advance(trainer, number)

    monkeypatch.setattr(Trainer, "advance", meanwhile)
    fit(vae.VAE, SMALL, plan)
    fit(vae.VAE, SMALL, plan)  # the lock has gone with the run
