"""Users' pictures: the one door by which bytes from outside become an array.

A file is measured before it is read, told apart by its first bytes and never by its name, reduced
to the parts that pixels need, and measured again in pixels before anything is decoded. Metadata
is dropped first because it is where small files hide large costs: Pillow inflates up to 64 MB of
PNG text and joins split EXIF blocks in quadratic time. Whatever goes wrong ends as `Refused`, one
sentence to show as it is.

Limits: 10 MB, 25 megapixels, 12,000 pixels on the longer side, 8 on the shorter. Colour profiles
and gamma tags are ignored: pixels are taken as sRGB. Pillow drops the low byte of 16-bit colour,
so 16-bit grey drops it too, and a single transparent 16-bit colour is shown opaque.
"""

import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import ExifTags, Image

MAX_BYTES = 10_000_000
LATELY = 32_000_000  # bytes of files that were taken lately
MAX_PIXELS = 25_000_000
MAX_SIDE = 12_000
MIN_SIDE = 8
MAX_PARTS = 20_000  # PNG chunks or JPEG segments; photographs have hundreds, millions cost seconds
MAX_SCANS = 100  # progressive JPEGs have about ten; each one is a pass over the whole picture

UNREADABLE = "The file could not be read; choose it once more."
EMPTY = "The file is empty; choose another picture."
TOO_HEAVY = "The file is larger than 10 MB; save a smaller or more compressed copy of the picture."
UNKNOWN = "Only PNG, JPEG, WEBP and BMP pictures can be opened; save yours as one of these."
TOO_LARGE = "The picture is too large; scale it to at most 25 megapixels and 12,000 pixels a side."
TOO_SMALL = "The picture is too small; it needs at least 8 pixels on each side."
ENDS_EARLY = "The picture cannot be opened because the file ends early; copy or download it again."
TOO_SLOW = "The picture is packed in a way that takes too long to open; save it again as PNG."
DAMAGED = "The picture is damaged or of an unusual kind; save it again as PNG and try that."
NO_MEMORY = "There is not enough memory for this picture right now; try a smaller copy."

PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"}  # what a still picture needs
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)  # stuffing, fill and restarts skipped
UPRIGHT = {  # EXIF orientation: how to turn the stored pixels
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Frame = Callable[[Image.Image], Image.Image]


class Refused(ValueError):
    """A picture that will not be opened: one sentence a person can act on."""


_lately: OrderedDict[str, bytes] = OrderedDict()  # by path
_lock = Lock()


def take(path: str | None) -> bytes:
    """The bytes of an uploaded file, which is deleted: Gradio shows what it keeps to whoever knows its address.

    That address follows from the content, so equal files of two users are one file. Whoever comes second, with the
    file gone, is given what was found there. Raises `Refused` for none, an empty one, or one of more than 10 MB.
    """
    if path is None:
        raise Refused(UNREADABLE)
    with _lock:
        if path in _lately and not Path(path).exists():
            _lately.move_to_end(path)
            return _lately[path]
        try:
            data = _read(path)
        finally:
            Path(path).unlink(missing_ok=True)
        _lately[path] = data
        _lately.move_to_end(path)
        while sum(map(len, _lately.values())) > LATELY:
            _lately.popitem(last=False)
    return data


def open_upload(source: str | Path | bytes, *, size: int = 64, frame: Frame | None = None) -> np.ndarray:
    """A user's picture as (size, size, 3) uint8 sRGB: upright, on white, cut to its centre square.

    `source` is a path or the bytes of a PNG, JPEG, WEBP or BMP file; of an animation the first
    picture is taken. `frame` is given the whole of it, RGB, and answers what is cut instead, or it as it is. Raises
    `Refused`, and nothing else, for any other content.
    """
    data = _read(source)
    try:
        picture = _colours(_upright(_open(data, size)))
        if frame is not None:
            whole = _reduced(picture, size)
            framed = frame(whole)
            picture = picture if framed is whole else framed
        return _square(picture, size)
    except Refused:
        raise
    except MemoryError as error:
        raise Refused(NO_MEMORY) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(TOO_LARGE) from error
    except Exception as error:  # Pillow raises a dozen types on broken files
        raise Refused(ENDS_EARLY if "truncated" in str(error).lower() else DAMAGED) from error


# ----------------------------------------------------------------------------
# Bytes.

def _read(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        try:
            if not path.is_file():
                raise Refused(UNREADABLE)
            if path.stat().st_size > MAX_BYTES:
                raise Refused(TOO_HEAVY)
            data = path.read_bytes()
        except OSError as error:
            raise Refused(UNREADABLE) from error
    if len(data) > MAX_BYTES:
        raise Refused(TOO_HEAVY)
    if not data:
        raise Refused(EMPTY)
    return data


def _png(data: bytes) -> bytes:
    """The chunks of a still picture. An animation keeps the picture shown where none is played."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in PNG_CHUNKS:
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        if len(kept) > MAX_PARTS:
            raise Refused(TOO_SLOW)
        at = end
    raise Refused(ENDS_EARLY)


def _jpeg(data: bytes) -> bytes:
    """The first picture without comments, profiles and thumbnails, up to its end marker.

    Kept of the metadata: JFIF (E0) and Adobe (EE), which say how colours are stored, and the
    first EXIF block (E1) for the orientation.
    """
    kept, at, scans, oriented = [], 0, 0, False
    while found := JPEG_MARKER.search(data, at):
        start, code = found.start(), data[found.start() + 1]
        kept.append(data[at:start])
        if code == 0xD9:
            return b"".join(kept) + b"\xff\xd9"
        at = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        exif = code == 0xE1 and not oriented and data.startswith(b"Exif\0\0", start + 4)
        oriented |= exif
        if not (0xE1 <= code <= 0xEF or code == 0xFE) or code == 0xEE or exif:
            kept.append(data[start:at])
        scans += code == 0xDA
        if scans > MAX_SCANS or len(kept) > MAX_PARTS:
            raise Refused(TOO_SLOW)
    raise Refused(ENDS_EARLY)


def _webp(data: bytes) -> bytes:
    """`data` itself, its canvas measured: Pillow reserves the memory of two canvases on opening."""
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise Refused(ENDS_EARLY)
    if data[12:16] == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    _measure(width, height)
    return data


FORMATS: tuple[tuple[re.Pattern[bytes], str, Callable[[bytes], bytes]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG", _png),
    (re.compile(rb"\xff\xd8\xff"), "JPEG", _jpeg),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP", _webp),
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}", re.DOTALL), "BMP", bytes),  # used as it is
)


# ----------------------------------------------------------------------------
# Pixels.

def _measure(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Refused(TOO_LARGE)
    if min(width, height) < MIN_SIDE:
        raise Refused(TOO_SMALL)


def _open(data: bytes, size: int) -> Image.Image:
    for magic, name, reduce in FORMATS:
        if magic.match(data):
            break
    else:
        raise Refused(UNKNOWN)
    picture = Image.open(BytesIO(reduce(data)), formats=(name,))
    _measure(*picture.size)
    codec, _, _, layout = picture.tile[0] if picture.tile else ("", None, 0, "")
    if codec == "bmp_rle":  # decoded in pure Python: seconds for one hostile file
        raise Refused(TOO_SLOW)
    if "transparency" in picture.info:  # grey of 2 and 4 bits is widened to 8, the transparent level is not
        picture.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(layout, 1)
    picture.draft(None, (4 * size, 4 * size))  # large JPEGs: decode at 1/2, 1/4 or 1/8, still 4x too fine
    picture.load()
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
        turn = UPRIGHT.get(orientation)
    except Exception:  # a camera's broken notes must not cost the picture
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _colours(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where anything may be transparent."""
    if picture.mode == "I;16":  # Pillow would clip 16-bit grey at 255
        levels = np.asarray(picture)
        grey = Image.fromarray((levels >> 8).astype(np.uint8))
        if "transparency" in picture.info:
            opaque = levels != picture.info["transparency"]
            grey.putalpha(Image.fromarray(opaque))
        picture = grey
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)  # converting copies, even to the same


def _square(picture: Image.Image, size: int) -> np.ndarray:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    picture = picture.resize((size, size), Image.Resampling.LANCZOS, box)  # weighs colours by their alpha
    return np.array(_on_white(picture))


def _reduced(picture: Image.Image, size: int) -> Image.Image:
    """RGB on white, eight times too fine at most for what is a part of it."""
    return _on_white(picture.reduce(max(1, max(picture.size) // (8 * size))))


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
