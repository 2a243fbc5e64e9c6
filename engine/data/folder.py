"""Any folder or zip of pictures as a data set of 64x64 images, and CelebA with its crops and attributes.

CelebA is Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015 (non-commercial research only):
178x218 jpgs in `img_align_celeba`, attributes in `list_attr_celeba.txt`.

Nothing in here trusts the files. Sizes are checked before decoding, archives are read in memory and never
unpacked, symbolic links are not followed, and whatever cannot be decoded is skipped and counted.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from engine.data.arrays import DataError
from engine.data.dataset import SIZE, Dataset, KnownFactor

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")

MAX_PIXELS = 25_000_000        # of one picture
MAX_BYTES = 100_000_000        # of one file, just what an uncompressed picture of MAX_PIXELS takes
MAX_MEMBERS = 1_000_000        # of an archive
MAX_UNPACKED = 64_000_000_000  # bytes, all pictures of an archive together
LIMIT = 250_000                # pictures, 3.1 GB of memory; CelebA has 202,599

CELEBA = "img_align_celeba"
CELEBA_SIZE = (178, 218)
ATTRIBUTES = "list_attr_celeba.txt"
CROPS = {                       # left, top, right, bottom
    "d2c": (25, 57, 153, 185),  # D2C, DiffAE, DisDiff
    "148": (15, 35, 163, 183),  # the usual one of VAE papers
    "140": (19, 39, 159, 179),  # score-based models
    "178": (0, 20, 178, 198),   # the largest square
}


class ImageFolder(Dataset):
    """The pictures under `path`, a folder or a zip, decoded once: 12 KB of memory each.

    Pictures are numbered in the order of their names. Above `limit` of them, that many are taken at even
    distances. `crop` (a key of CROPS) applies to CelebA, other pictures are cut to the centre square.
    `files` are the names served, `skipped` maps every name that was not to the reason, `report` says both
    in a sentence. `progress` is told the share decoded. CelebA's attributes, where found beside or above the
    pictures, are the factors.

    Raises DataError where no picture can be read, the crop is unknown or the attributes do not fit.
    """

    channels = 3

    def __init__(
        self, path: Path, crop: str = "d2c", limit: int = LIMIT, progress: Callable[[float], None] = lambda share: None
    ):
        if crop not in CROPS:
            raise DataError(f"Unknown crop {crop!r}, expected one of {', '.join(CROPS)}.")
        self.name = path.name
        with _open(path) as source:
            names = sorted(name for name in source.sizes if _is_picture(name))
            faces = [name for name in names if PurePosixPath(path.name, name).parent.name == CELEBA]
            names, self.crop = (faces, crop) if faces else (names, None)
            if not names:
                raise DataError(f"{path.name} holds no jpg, png, webp or bmp (links are not followed).")
            found = len(names)
            if found > limit:
                names = [names[k * found // limit] for k in range(limit)]
            pixels, self.skipped = _decode_all(source, names, self.crop, path.name, progress)
            table = _find_attributes(source, path) if faces else None
        self.files = tuple(name for name in names if name not in self.skipped)
        if not self.files:
            name, reason = next(iter(self.skipped.items()))
            raise DataError(f"No picture of {len(names):,} in {path.name} can be read: {name} is {reason}.")
        self._pixels = torch.from_numpy(pixels)
        self._labels = torch.empty(len(self.files), 0)
        self.origin = f"Pictures read from {path.name}, under whatever licence they came with."
        if faces:
            self.origin = f"CelebA (Liu et al. 2015, non-commercial research only), crop {crop}, {path.name}."
        if table is not None:
            self.factors, self._labels = _attributes(table, self.files)
        self.report = _report(self, found)

    def __len__(self) -> int:
        return len(self.files)

    def images(self, index: Tensor) -> Tensor:
        return self._pixels[index.cpu()].to(index.device)

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index.cpu()].to(index.device)


def decode(data: bytes, crop: str | None = None) -> np.ndarray:
    """One file's bytes -> (64, 64, 3) uint8, upright, transparency on white.

    Cut to the centre square, or to CROPS[crop] where given. Raises DataError with the reason.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"larger than {MAX_PIXELS // 1_000_000} megapixels")
            image.draft("RGB", (4 * SIZE, 4 * SIZE))  # lets libjpeg shrink photographs while it decodes
            return _square(_rgb(ImageOps.exif_transpose(image)), crop)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"larger than {MAX_PIXELS // 1_000_000} megapixels") from error
    except UnidentifiedImageError as error:
        raise DataError("not a picture") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file trips
        raise DataError("damaged") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":  # convert() would clip instead of scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _square(image: Image.Image, crop: str | None) -> np.ndarray:
    if crop is None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    elif image.size != CELEBA_SIZE:
        raise DataError("not 178x218 as CelebA's aligned faces are")
    else:
        box = CROPS[crop]
    return np.asarray(image.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _decode_all(
    source: "_Source",
    names: list[str],
    crop: str | None,
    title: str,
    told: Callable[[float], None],
) -> tuple[np.ndarray, dict[str, str]]:
    """Pixels (N, 3, 64, 64) of the N names that could be decoded, and the reasons of the others."""
    pixels = np.empty((len(names), 3, SIZE, SIZE), np.uint8)
    reasons: dict[str, str] = {}

    def work(k: int) -> None:
        try:
            if source.sizes[names[k]] > MAX_BYTES:
                raise DataError(f"larger than {MAX_BYTES // 1_000_000} MB")
            pixels[k] = decode(source.read(names[k]), crop).transpose(2, 0, 1)
        except DataError as error:
            reasons[names[k]] = str(error)

    label = f"Decoding {title} into {_megabytes(pixels.nbytes)} of memory"
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=len(names), unit=" pictures", desc=label, disable=len(names) < 2000) as progress,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd files: the report counts those
        for first in range(0, len(names), 128):
            block = range(first, min(first + 128, len(names)))
            list(pool.map(work, block))
            progress.update(len(block))
            told(block.stop / len(names))

    kept = [k for k, name in enumerate(names) if name not in reasons]
    for to, k in enumerate(kept):  # in place: a masked copy would need the memory twice
        pixels[to] = pixels[k]
    return pixels[:len(kept)], {name: reasons[name] for name in names if name in reasons}


def _report(folder: ImageFolder, found: int) -> str:
    text = f"{len(folder):,} pictures from {folder.name} take {_megabytes(folder._pixels.nbytes)} of memory"
    if found > len(folder) + len(folder.skipped):
        text += f", taken at even distances from {found:,}"
    if folder.skipped:
        reasons = Counter(folder.skipped.values()).most_common()
        text += f"; {len(folder.skipped):,} skipped: "
        text += ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return text + "."


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# ------------------------------------------------------------------------------------------------
# CelebA's attributes: a line with the count, one with 40 names, then `000001.jpg -1 1 ...`

def _find_attributes(source: "_Source", path: Path) -> str | None:
    inside = [name for name in source.sizes if PurePosixPath(name).name == ATTRIBUTES]
    if inside and source.sizes[inside[0]] <= MAX_BYTES:
        return source.read(inside[0]).decode(errors="replace")
    beside = path.parent / ATTRIBUTES
    return beside.read_text(errors="replace") if beside.is_file() else None


def _attributes(text: str, files: tuple[str, ...]) -> tuple[tuple[KnownFactor, ...], Tensor]:
    """Factors with the ladder (-1, 1) and the class numbers (N, K) of the N files."""
    lines = text.splitlines()
    names = lines[1].split() if len(lines) > 1 else []
    rows = dict(line.split(maxsplit=1) for line in lines[2:] if len(line.split(maxsplit=1)) == 2)
    labels = torch.empty(len(files), len(names))
    for k, file in enumerate(files):
        values = rows.get(PurePosixPath(file).name, "").split()
        if len(values) != len(names) or not names or set(values) - {"-1", "1"}:
            raise DataError(f"{ATTRIBUTES} has no row of {len(names)} values -1 or 1 for {file}.")
        labels[k] = torch.tensor([value == "1" for value in values])
    factors = tuple(KnownFactor(name.replace("_", " "), (-1.0, 1.0)) for name in names)
    return factors, labels


# ------------------------------------------------------------------------------------------------
# Where the bytes come from

class _Source(Protocol):
    sizes: dict[str, int]  # name, as a relative path with slashes -> bytes

    def read(self, name: str) -> bytes: ...


class _Directory:
    def __init__(self, path: Path):
        self._path = path
        self.sizes = {}
        for folder, _, files in os.walk(path, followlinks=False):
            for entry in (Path(folder, file) for file in files):
                if entry.is_file() and not entry.is_symlink():
                    self.sizes[entry.relative_to(path).as_posix()] = entry.stat().st_size

    def read(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise DataError("not readable") from error


class _Archive:
    def __init__(self, archive: ZipFile, title: str):
        members = [member for member in archive.infolist() if not member.is_dir()]
        unpacked = sum(member.file_size for member in members)
        if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED:
            raise DataError(
                f"{title} unpacks to {len(members):,} files of {unpacked / 1e9:,.0f} GB, "
                f"more than the {MAX_MEMBERS:,} files or {MAX_UNPACKED / 1e9:,.0f} GB allowed."
            )
        self._archive = archive
        self._lock = Lock()
        self._members = {member.filename: member for member in members}
        self.sizes = {name: member.file_size for name, member in self._members.items()}

    def read(self, name: str) -> bytes:
        member = self._members[name]
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # the others inflate in unbounded steps
            raise DataError("packed by an unusual method")
        try:
            with self._lock:
                return self._archive.read(member)
        except Exception as error:  # encrypted, truncated, wrong checksum, overlapping
            raise DataError("damaged") from error


@contextmanager
def _open(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        yield _Directory(path)
        return
    try:
        archive = ZipFile(path)
    except (OSError, ValueError, RuntimeError, BadZipFile) as error:
        raise DataError(f"{path.name} is neither a folder nor a readable zip.") from error
    with archive:
        yield _Archive(archive, path.name)


def _is_picture(name: str) -> bool:
    """Leaves out hidden files, macOS's `._` doubles, and names that climb out of their archive."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
