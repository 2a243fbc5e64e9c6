"""Files written whole or not at all, and read only if they are what their manifest says.

A folder of shipped files holds MANIFEST.json, the sha256 of every other file in it. safetensors
loads a flipped bit without complaint, so a byte that differs is refused before it is used.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "MANIFEST.json"


class Damaged(ValueError):
    """A file that is missing or is not what its manifest says; the message names it and why."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it over."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_manifest(folder: Path) -> None:
    """Record the sha256 of every other file of `folder`."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    write_atomically(folder / MANIFEST, json.dumps(digests, indent=1).encode() + b"\n")


def read_verified(folder: Path, name: str) -> bytes:
    """The bytes of `folder`/`name`, after checking them against the manifest.

    Raises Damaged if the file or its entry is missing or the digest differs.
    """
    path = folder / name
    try:
        expected = json.loads((folder / MANIFEST).read_bytes())[name]
    except FileNotFoundError:
        raise Damaged(f"{folder / MANIFEST} is missing.") from None
    except KeyError:
        raise Damaged(f"{path} is not listed in its {MANIFEST}.") from None
    except OSError as error:
        raise Damaged(f"{folder / MANIFEST} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, RecursionError):
        raise Damaged(f"{folder / MANIFEST} is not a readable list of checksums.") from None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path} is missing.") from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.") from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise Damaged(f"{path} is damaged: its sha256 differs from {MANIFEST}.")
    return data


@contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock on a folder, or on a file, which is made if it is not there; False if another holder has it. The lock
    ends with this process at the latest. Where the system has no flock, as on Windows, everybody is told True."""
    try:
        import fcntl
    except ImportError:
        yield True
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
