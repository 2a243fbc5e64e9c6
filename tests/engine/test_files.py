"""Writes that are cut short, and files that are not what their manifest says."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from engine.files import MANIFEST, Damaged, locked, read_verified, write_atomically, write_manifest

OLD, NEW = b"old" * 1000, b"new" * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (("a.bin", b"alpha"), ("b.bin", bytes(range(256))), ("empty.bin", b"")):
        (tmp_path / name).write_bytes(data)
    write_manifest(tmp_path)
    return tmp_path


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, OLD)
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_cut_short_leaves_the_old_file_whole(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, OLD)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, NEW)
    assert path.read_bytes() == OLD
    write_atomically(path, NEW)  # what the failure left behind is in nobody's way
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_bytes_are_on_the_disk_before_the_name_is_theirs(tmp_path, monkeypatch):
    path, events = tmp_path / "file", []
    write_atomically(path, OLD)
    fsync, replace = os.fsync, os.replace

    def flushed(number):
        fsync(number)
        events.append(("flushed", os.fstat(number).st_size, path.read_bytes() == OLD))

    def renamed(source, target):
        events.append(("renamed", Path(source).read_bytes() == NEW, Path(target) == path))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    write_atomically(path, NEW)
    assert events == [("flushed", len(NEW), True), ("renamed", True, True)]


def test_the_manifest_covers_every_other_file(folder):
    (folder / "inside").mkdir()
    write_manifest(folder)
    listed = json.loads((folder / MANIFEST).read_text())
    assert listed == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.bin")}
    assert len(listed) == 3


def test_what_is_whole_is_read(folder):
    assert read_verified(folder, "a.bin") == b"alpha"
    assert read_verified(folder, "b.bin") == bytes(range(256))
    assert read_verified(folder, "empty.bin") == b""


@pytest.mark.parametrize("data", [b"Alpha", b"alph", b"alpha\0", b""])
def test_a_file_that_differs_is_refused(folder, data):
    (folder / "a.bin").write_bytes(data)
    with pytest.raises(Damaged, match=r"a\.bin is damaged: its sha256 differs"):
        read_verified(folder, "a.bin")
    assert len(read_verified(folder, "b.bin")) == 256


def test_every_single_bit_counts(folder):
    data = (folder / "b.bin").read_bytes()
    for bit in range(0, 8 * len(data), 41):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / "b.bin").write_bytes(flipped)
        with pytest.raises(Damaged, match=r"b\.bin is damaged"):
            read_verified(folder, "b.bin")


def test_missing_and_unlisted_files_are_refused_by_name(folder):
    (folder / "a.bin").unlink()
    with pytest.raises(Damaged, match=r"a\.bin is missing"):
        read_verified(folder, "a.bin")
    (folder / "c.bin").write_bytes(b"new")
    with pytest.raises(Damaged, match=r"c\.bin is not listed"):
        read_verified(folder, "c.bin")
    (folder / MANIFEST).unlink()
    with pytest.raises(Damaged, match=r"MANIFEST\.json is missing"):
        read_verified(folder, "b.bin")


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b"null", b"7", b'"a.bin"', b"\xff\xfe", b"[" * 100_000, b'{"a.bin": "'],
)
def test_a_manifest_that_is_none_is_refused(folder, manifest):
    (folder / MANIFEST).write_bytes(manifest)
    with pytest.raises(Damaged, match=r"MANIFEST\.json is not a readable list of checksums"):
        read_verified(folder, "a.bin")


@pytest.mark.parametrize("digest", [None, 7, [], {}, "", "0" * 64, hashlib.sha256(b"alpha").hexdigest()[:-1]])
def test_a_checksum_of_another_kind_is_refused(folder, digest):
    (folder / MANIFEST).write_text(json.dumps({"a.bin": digest}))
    with pytest.raises(Damaged, match=r"a\.bin is damaged"):
        read_verified(folder, "a.bin")


def test_a_folder_in_the_place_of_a_file_is_refused(folder):
    (folder / "a.bin").unlink()
    (folder / "a.bin").mkdir()
    with pytest.raises(Damaged, match=r"a\.bin cannot be read"):
        read_verified(folder, "a.bin")
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()
    with pytest.raises(Damaged, match=r"MANIFEST\.json cannot be read"):
        read_verified(folder, "b.bin")


def test_a_lock_is_held_by_one_and_ends_with_its_holder(tmp_path):
    for path in (tmp_path, tmp_path / "new"):
        with locked(path) as first, locked(path) as second:
            assert first and not second
        with locked(path) as third, locked(tmp_path / "other") as fourth:
            assert third and fourth
