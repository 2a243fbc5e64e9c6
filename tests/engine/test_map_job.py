"""A map of somebody's own pictures: what comes out of it, what is refused, and that it can be stopped."""

import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from engine import MapJob, Refusal, checkpoint, map_job
from engine.files import Damaged
from engine.latent_map import encoded
from engine.latent_place import OWN
from engine.make_own_map import work
from engine.map_job import FILES, opened
from tests.serving import ROOT, until
from tests.tiny import noise

COUNT = 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Seventy pictures, one file that is none, and one hidden."""
    folder = tmp_path_factory.mktemp("own") / "your files"
    folder.mkdir()
    for number, image in enumerate(noise(COUNT, seed=5).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    (folder / "bad.png").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module", params=["first", "third-grey"])
def made(request, models, folder, tmp_path_factory) -> tuple[Path, Path, list[dict]]:
    """The files of a map of them by a model, of colours and of grey, the model, and what was said meanwhile."""
    out, said = tmp_path_factory.mktemp("out"), []
    work(models / request.param, folder, out, "code", lambda **news: said.append(news))
    return out, models / request.param, said


def test_both_files_hold_the_same_pictures_places_and_codes(made, folder):
    out, model, _ = made
    own, table = opened(out / FILES[0]), parquet.read_table(out / FILES[1])
    assert own.made.data == OWN and own.made.model == model.name and len(own.files) == COUNT == table.num_rows
    assert list(own.files) == table["file_name"].to_pylist() != sorted(own.files)  # in random order
    assert sorted(own.files) == sorted(path.name for path in folder.glob("[0-9]*.png"))
    places = np.stack([table[name].to_numpy() for name in "xy"], 1)
    assert np.array_equal(places, own.made.flat)
    assert "1 skipped: 1 not a picture" in own.report
    for row in (0, COUNT - 1):
        pixels = np.asarray(Image.open(folder / own.files[row]))
        assert np.array_equal(own.pictures([row])[0], pixels)
        assert np.array_equal(np.asarray(Image.open(BytesIO(table["image"][row].as_py()))), pixels)


def test_codes_are_the_models_and_factors_are_columns_by_their_names(made):
    out, folder, _ = made
    net, factors, _ = checkpoint.load(folder)
    table, own = parquet.read_table(out / FILES[1]), opened(out / FILES[0])

    class Own:
        @staticmethod
        def images(index):
            return torch.from_numpy(own.pictures(index.numpy())).permute(0, 3, 1, 2)

    codes = encoded(net, Own, torch.arange(COUNT))
    assert np.array(table["code"].to_pylist()) == pytest.approx(codes, abs=1e-4)
    assert own.made.standard(codes) == pytest.approx(own.made.codes, abs=1e-4)
    first = factors[0]
    assert table[first.name].to_numpy() == pytest.approx(codes[:, first.where[0]] * first.axis[0], abs=1e-4)
    with np.load(out / FILES[0], allow_pickle=False) as held:
        assert np.array_equal(held["x"], own.made.flat[:, 0]) and held["code"] == pytest.approx(codes, abs=1e-4)
        assert json.loads(str(held["about"]))["provenance"]["method"].startswith("UMAP")


def test_progress_grows_and_says_when_the_pictures_are_read(made):
    _, _, said = made
    shares = [news["share"] for news in said]
    assert shares == sorted(shares) and shares[-1] < 1
    assert [news["what"] for news in said if news.get("read")] == ["reading their codes"]


def test_what_is_no_map_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(Damaged, match="no map of pictures"):
        opened(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", about=np.array("{}"))
    with pytest.raises(Damaged, match="no map of pictures"):
        opened(tmp_path / "other.npz")


def test_the_process_says_why_there_is_no_map(models, tmp_path):
    (tmp_path / "few").mkdir()
    for number in range(5):
        Image.fromarray(noise(1, seed=number)[0].permute(1, 2, 0).numpy()).save(tmp_path / "few" / f"{number}.png")
    job = MapJob(models / "first", tmp_path / "few", tmp_path)
    until(lambda: job.done, "the end of the job", 120)
    assert job.refusal == "A map needs at least 60 pictures; these are 5." and job.read
    with pytest.raises(Refusal, match="at least 60"):
        job.result()


def stand_in(folder: Path, code: str) -> None:
    """Code for the process of a job whose root is `folder`."""
    (folder / "engine").mkdir()
    (folder / "engine" / "__init__.py").touch()
    (folder / "engine" / "make_own_map.py").write_text(code)


@pytest.fixture
def says(tmp_path, monkeypatch):
    """Starts a job whose process prints some bytes, and nothing else."""
    def start(printed: bytes) -> MapJob:
        stand_in(tmp_path, f"import sys; sys.stdout.buffer.write({printed!r})")
        monkeypatch.setattr(map_job, "ROOT", tmp_path)
        return MapJob(tmp_path, tmp_path, tmp_path)

    return start


def test_lines_that_are_no_news_are_passed_over(says):
    job = says(b'a library says hello\n3\n\xff\n\n{"share": 0.5, "what": "working"}\n{"ended": true}\n')
    until(lambda: job.done, "the end of the job", 30)
    assert (job.share, job.what, job.refusal) == (0.5, "working", "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_ends_also_if_its_news_cannot_be_followed(says, monkeypatch):
    def fail(line):
        raise MemoryError

    monkeypatch.setattr(map_job, "told", fail)
    job = says(b"{}\n")
    until(lambda: job.done, "the end of the job", 30)
    assert job.read and "ended early" in job.refusal and job._process.poll() is not None


def test_the_process_of_a_job_ends_with_the_server(tmp_path):
    stand_in(tmp_path, "import time; time.sleep(60)")
    server = (f"from pathlib import Path; from engine import map_job; map_job.ROOT = Path({str(tmp_path)!r});"
              "job = map_job.MapJob(Path(), Path(), Path()); print(job._process.pid); raise SystemExit")
    ended = subprocess.run([sys.executable, "-c", server], cwd=ROOT, capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


@pytest.mark.parametrize("late", [False, True])
def test_a_job_is_stopped_at_once_by_hand_and_by_the_clock(models, folder, tmp_path, late):
    job = MapJob(models / "first", folder, tmp_path, longest=0.2 if late else 600)
    if not late:
        job.cancel()
    until(lambda: job.done, "the end of the job", 60)
    assert job.refusal == ("It took too long and was stopped; try fewer pictures." if late else "Cancelled.")
    assert job._process.poll() is not None and not list(tmp_path.iterdir())
