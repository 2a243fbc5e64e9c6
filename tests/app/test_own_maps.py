"""Maps of users' own pictures, without the work: what is taken, who waits, who is told what, and what is left."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import own_maps
from app.own_maps import BUSY, GONE, STOPPED, OwnMaps, collected
from engine import Refusal


class Job:
    """Stands for engine.MapJob: ends when it is told to."""

    made: list["Job"]

    def __init__(self, model: Path, pictures: Path, out: Path, part: str):
        self.share, self.what, self.read, self.done, self.refusal = 0.3, "working", False, False, ""
        self.pictures, self.out, self.part = pictures, out, part
        Job.made.append(self)

    def cancel(self, why: str) -> None:
        self.done, self.refusal = True, self.refusal or why

    def finish(self) -> None:
        for name in ("map.npz", "map.parquet"):
            (self.out / name).write_text(name)
        self.done = True

    def result(self):
        if self.refusal:
            raise Refusal(self.refusal)
        return SimpleNamespace(made=SimpleNamespace(model="first"))


@pytest.fixture
def own(engine, tmp_path, monkeypatch) -> OwnMaps:
    Job.made = []
    monkeypatch.setattr(own_maps, "MapJob", Job)
    monkeypatch.setattr(own_maps, "LOOK", 0.005)
    return OwnMaps(engine, tmp_path / "downloads")


def files(folder: Path, count: int = 60) -> list[str]:
    """Files as Gradio leaves them, each in a folder of its own."""
    paths = [folder / str(number) / f"{number % 50}.png" for number in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    return [str(path) for path in paths]


async def told(own: OwnMaps, paths: list[str], page: str = "page", act=lambda news: None) -> list:
    """All that is told to who makes a map."""
    found = []
    async for news in own.make(paths, "first", "code", page):
        found.append(news)
        act(news)
    return found


def run(*coroutines):
    """What they answer, together, in a loop of a thread of its own: Playwright's may run in ours."""
    async def together():
        return await asyncio.wait_for(asyncio.gather(*coroutines), 60)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(together())).result()


def test_files_become_a_map_that_is_kept_and_its_links_are_gone_when_they_are_read(own, tmp_path):
    def act(news):
        job = Job.made[0]
        if not job.read:
            assert len(list(job.pictures.iterdir())) == 60  # also those whose names were the same
            job.read = True
        elif not job.pictures.exists():
            job.finish()

    paths = files(tmp_path / "cache")
    found, = run(told(own, paths, act=act))
    assert all(Path(path).exists() for path in paths) and not Job.made[0].out.exists()
    last = found[-1]
    assert last.ended and last.token and own.get(last.token) and len(last.token) == 32
    assert [Path(path).name for path in own.files(last.token)] == ["map-first.npz", "map-first.parquet"]
    with pytest.raises(Refusal, match="no longer"):
        own.get("0" * 32)


def test_equal_files_of_two_pages_share_their_paths_and_both_get_a_map(own, tmp_path):
    def act(news):
        assert all(len(list(job.pictures.iterdir())) == 60 for job in Job.made if not job.done)
        Job.made[-1].finish()

    paths = files(tmp_path / "cache")
    first, second = run(*(told(own, paths, page, act) for page in ("a", "b")))
    assert first[-1].token and second[-1].token and first[-1].token != second[-1].token


def test_one_works_while_the_other_waits_and_more_are_refused(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own_maps, "WAITING", 1)

    def act(news):
        if "waiting" in news.words:
            assert len(Job.made) == 1
            Job.made[0].finish()
        elif len(Job.made) == 2:
            Job.made[1].finish()

    first, second, third = run(*(told(own, files(tmp_path / page), page, act) for page in ("a", "b", "c")))
    assert first[-1].token and second[-1].token and first[-1].token != second[-1].token
    assert any("waiting" in news.words for news in second) and third[-1].words == BUSY and not third[-1].token


@pytest.mark.parametrize("waits", [False, True])
def test_a_job_is_cancelled_by_its_page_only_also_while_it_waits(own, tmp_path, waits):
    def act(news):
        own.cancel("nobody")
        if not waits or len(own._jobs) == 2:
            own.cancel("b" if waits else "a")
            if waits:
                Job.made[0].finish()

    both = [told(own, files(tmp_path / page), page, act) for page in ("a", "b")[:1 + waits]]
    found = run(*both)
    assert found[-1][-1].words == STOPPED and not found[-1][-1].token
    assert not waits or (found[0][-1].token and len(Job.made) == 1)


@pytest.mark.parametrize(("count", "named"), [(60, BUSY), (12, "at least 60")])
def test_a_second_choice_that_is_refused_leaves_the_running_map_alone(own, tmp_path, count, named):
    async def twice():
        first = own.make(files(tmp_path / "a"), "first", "code", "page")
        await anext(first)
        second = await told(own, files(tmp_path / "b", count))
        assert len(second) == 1 and named in second[0].words and not Job.made[0].done
        Job.made[0].finish()
        return [news async for news in first]

    found, = run(twice())
    assert found[-1].token and not own._jobs


def test_who_leaves_takes_the_job_along(own, tmp_path):
    async def leave():
        news = own.make(files(tmp_path / "cache"), "first", "code", "page")
        await anext(news)
        await news.aclose()

    run(leave())
    assert Job.made[0].refusal == STOPPED and not Job.made[0].out.exists() and not own._jobs


def test_few_results_are_kept_and_their_files_go_with_them(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own_maps, "KEPT", 1)
    tokens = [run(told(own, files(tmp_path / str(k)), act=lambda news: Job.made[-1].finish()))[0][-1].token
              for k in range(2)]
    with pytest.raises(Refusal, match=GONE):
        own.get(tokens[0])
    assert own.get(tokens[1]) and [path.name for path in own.downloads.iterdir()] == [tokens[1]]


@pytest.mark.parametrize(("count", "others", "named"), [
    (0, {}, "Choose pictures"), (12, {}, "at least 60"), (60, {"a.zip": 1}, "one zip"),
    (0, {"a.zip": 1, "b.zip": 1}, "one zip"), (0, {"a.zip": 10_000_001}, "10 MB"), (60, {"a.png": 10_000_001}, "10 MB"),
    (0, {"notes.txt": 5}, "at least 60"),
])
def test_what_is_not_taken_is_said(own, tmp_path, count, others, named):
    paths = files(tmp_path / "cache", count)
    for name, size in others.items():
        path = tmp_path / "cache" / f"in-{name}" / name
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(size)
        paths.append(str(path))
    found, = run(told(own, paths))
    assert len(found) == 1 and named in found[0].words and not found[0].token and not Job.made


def test_a_zip_is_handed_on_as_it_is_and_all_else_is_left_out(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    for name in ("some.ZIP", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert collected([str(tmp_path / "some.ZIP"), str(tmp_path / "notes.txt")], room) == room / "some.ZIP"
    assert [path.name for path in room.iterdir()] == ["some.ZIP"]


@pytest.mark.parametrize("links", [True, False])
def test_all_pictures_are_taken_once_whatever_their_names_and_the_disk(tmp_path, monkeypatch, links):
    def refuse(*paths):
        raise OSError("Invalid cross-device link")

    if not links:
        monkeypatch.setattr(own_maps.os, "link", refuse)
    paths = files(tmp_path / "cache")
    for number, name in ((60, "52-2.png"), (61, "52-2.png")):  # as the second 2.png will be called
        path = tmp_path / "cache" / str(number) / name
        path.parent.mkdir()
        path.write_bytes(str(number).encode())
        paths.insert(0, str(path))
    (tmp_path / "room").mkdir()
    folder = collected([*paths, paths[0], paths[-1]], tmp_path / "room")
    taken = [path.read_bytes() for path in folder.iterdir()]
    assert len(taken) == 62 and {b"60", b"61", b"picture"} == set(taken)
    assert all(path.stat().st_nlink == 1 + links for path in folder.iterdir())


def test_what_an_earlier_server_left_is_cleared_and_what_another_may_need_is_not(engine, tmp_path):
    for name in ("old", "young"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "map-first.npz").touch()
    (tmp_path / "map-first-2d.html").touch()
    for name in ("old", "map-first-2d.html"):
        os.utime(tmp_path / name, (0, 0))
    OwnMaps(engine, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["young"]


def test_a_result_is_gone_after_its_time(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own_maps, "LIFE", 0.2)
    token = run(told(own, files(tmp_path / "mine"), act=lambda news: Job.made[-1].finish()))[0][-1].token
    limit = time.monotonic() + 10
    while list(own.downloads.iterdir()) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not list(own.downloads.iterdir())
    with pytest.raises(Refusal, match=r"no longer on the server"):
        own.get(token)
