"""A corpus of odd and hostile files, all made here: each gives the right picture or one sentence."""

import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import uploads
from app.uploads import Refused, open_upload, take

SIDE = 64


# --- Makers
def photo(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Smooth and different in every corner and colour, so turned, cut or swapped pictures differ."""
    y, x = np.mgrid[0:height, 0:width]
    colours = 255 * x / (width - 1), 255 * y / (height - 1), 127 + 127 * np.sin(x / 9 + y / 5)
    return np.stack(colours, axis=-1).astype(np.uint8)


def save(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def hand_png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + pixels + chunk(b"IEND")


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    return png[:33] + chunk(kind, body) + png[33:]  # just after the header


def segment(code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def bmp(width: int, height: int, compression: int = 0, body: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(body), 0, 0, 256, 0)
    palette = b"".join(bytes((level, 0, 0, 0)) for level in range(256))
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body


def webp_canvas(width: int, height: int) -> bytes:
    """A real animation, its canvas enlarged by hand in the header."""
    data = bytearray(save(photo(), "WEBP", save_all=True, append_images=[Image.fromarray(photo()[::-1])]))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def centre(image: np.ndarray) -> np.ndarray:
    top, left = (image.shape[0] - SIDE) // 2, (image.shape[1] - SIDE) // 2
    return image[top : top + SIDE, left : left + SIDE]


def assert_sentence(text: str) -> None:
    assert text[0].isupper() and text.endswith(".") and ". " not in text and "\n" not in text
    assert len(text) < 160
    assert not any(leak in text for leak in ("/", "\\", "<", "Error", "error", "PIL", "Traceback", "0x"))


def refusal(source) -> str:
    with pytest.raises(Refused) as caught:
        open_upload(source)
    assert_sentence(str(caught.value))
    return str(caught.value)


# --- Sound pictures
@pytest.mark.parametrize("kind, options", [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_lossless_picture_of_the_right_size_is_unchanged(kind, options):
    opened = open_upload(save(photo(), kind, **options))
    assert opened.dtype == np.uint8 and np.array_equal(opened, photo())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_jpeg_is_what_pillow_decodes(options):
    data = save(photo(), "JPEG", **options)
    assert np.array_equal(open_upload(data), decoded(data))


def test_path_string_and_bytes_agree_and_the_extension_does_not_matter(tmp_path):
    data = save(photo(), "PNG")
    path = tmp_path / "really a png.gif"
    path.write_bytes(data)
    assert np.array_equal(open_upload(path), open_upload(data))
    assert np.array_equal(open_upload(str(path)), photo())


@pytest.mark.parametrize("shape", [(91, 64), (64, 91), (64, 65)])
def test_centre_square_is_cut_not_squeezed(shape):
    image = photo(*shape)
    assert np.array_equal(open_upload(save(image, "PNG")), centre(image))


def test_a_frame_sees_the_whole_picture_on_white_and_its_answer_is_cut():
    given = np.zeros((1200, 3000, 4), np.uint8)
    given[:, :1000] = (200, 0, 0, 255)  # all else is transparent
    data, seen = save(given, "PNG"), []
    corner = open_upload(data, frame=lambda picture: (seen.append(picture), picture.crop((0, 0, 90, 90)))[1])
    assert (corner == (200, 0, 0)).all()
    [whole] = seen
    assert whole.mode == "RGB" and 512 <= max(whole.size) < 1024 and whole.getpixel((whole.width - 1, 0)) == (255,) * 3
    assert np.array_equal(open_upload(data, frame=lambda picture: picture), open_upload(data))
    assert open_upload(data, frame=lambda picture: picture.convert("L")).shape == (64, 64, 3)


def test_downscale_averages_fine_detail():
    checkers = np.indices((640, 640)).sum(axis=0) % 2 * 255
    grey = open_upload(save(checkers.astype(np.uint8), "PNG"), size=40)
    assert grey.shape == (40, 40, 3)
    assert np.abs(grey.astype(int) - 127).max() <= 2  # picking every tenth pixel would give 0 or 255


def test_large_jpeg_decoded_at_reduced_scale_is_the_same_picture():
    data = save(photo(1600, 2400), "JPEG", quality=95)
    whole = Image.fromarray(decoded(data)).crop((400, 0, 2000, 1600)).resize((SIDE, SIDE), Image.LANCZOS)
    error = np.abs(open_upload(data).astype(int) - np.asarray(whole))
    assert error.max() <= 6 and error.mean() < 0.5


@pytest.mark.parametrize("height, width", [(8, 8), (20, 9), (8, 12_000), (12_000, 8), (8_000, 8)])
def test_smallest_and_longest_pictures_fill_the_square(height, width):
    flat = np.full((height, width, 3), (10, 200, 30), np.uint8)
    for data in (save(flat, "PNG"), save(flat, "WEBP", lossless=True)):
        assert np.array_equal(open_upload(data), np.broadcast_to(flat[0, 0], (SIDE, SIDE, 3)))


STORED_TO_UPRIGHT = {  # EXIF 2.3, tag 0x0112, written with arrays
    1: lambda a: a, 2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {})])
@pytest.mark.parametrize("orientation", STORED_TO_UPRIGHT)
def test_exif_orientation_is_applied(kind, options, orientation):
    data = save(photo(64, 91), kind, exif=exif(orientation), **options)
    assert np.array_equal(open_upload(data), centre(STORED_TO_UPRIGHT[orientation](decoded(data))))


@pytest.mark.parametrize("block", [exif(77), b"Exif\0\0MM\0*", b"Exif\0\0" + b"\xff" * 3000, b"Exif\0\0"])
def test_broken_exif_does_not_cost_the_picture(block):
    data = save(photo(), "JPEG")
    assert np.array_equal(open_upload(with_segments(data, segment(0xE1, block))), decoded(data))


# --- Kinds of pixels
def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return 255 - (255.0 - colour) * alpha[..., None] / 255


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_alpha_is_composited_on_white(kind, options):
    alpha = photo()[::-1, :, 1]
    rgba = np.dstack((photo(), alpha))
    error = np.abs(open_upload(save(rgba, kind, **options)) - on_white(photo(), alpha))
    assert error.max() <= 1


def test_hidden_colour_under_transparency_does_not_bleed_when_scaled():
    rgba = np.zeros((256, 256, 4), np.uint8)
    rgba[..., 1] = 255                                # green everywhere, to be seen nowhere
    rgba[64:192, 64:192] = 255, 255, 255, 255         # a white square on transparency
    assert (open_upload(save(rgba, "PNG")) == 255).all()


def test_grey_with_alpha():
    la = photo()[..., :2]
    error = np.abs(open_upload(save(np.ascontiguousarray(la), "PNG")) - on_white(la[..., :1], la[..., 1]))
    assert error.max() <= 1


def test_palette_with_alpha():
    indices = Image.new("P", (SIDE, SIDE))
    indices.paste(1, (32, 0, 64, 64))
    indices.putpalette([255, 0, 0, 0, 0, 255])
    opened = open_upload(save(indices, "PNG", transparency=bytes((128, 255))))
    assert np.abs(opened[0, 0].astype(int) - (255, 127, 127)).max() <= 1
    assert opened[-1, -1].tolist() == [0, 0, 255]


@pytest.mark.parametrize("depth, key", [(1, 1), (2, 3), (2, 1), (4, 15), (4, 6), (8, 200), (16, 0x1234)])
def test_transparent_level_of_grey_png(depth, key):
    clear = sum(key << depth * i for i in range(32)).to_bytes(4 * depth, "big")  # 32 pixels
    row = b"\0" + clear + bytes(4 * depth)
    opened = open_upload(hand_png(64, 64, depth, 0, row * 64, chunk(b"tRNS", struct.pack(">H", key))))
    assert (opened[:, :32] == 255).all() and (opened[:, 32:] == 0).all()


def test_sixteen_bits_keep_their_range():
    ramp = np.linspace(0, 65535, SIDE).astype(np.uint16)
    opened = open_upload(save(np.tile(ramp, (SIDE, 1)), "PNG"))
    assert np.array_equal(opened[5, :, 1], ramp >> 8)
    row = b"\0" + struct.pack(">3H", 0xFF00, 0x8000, 0x0100) * 64
    assert open_upload(hand_png(64, 64, 16, 2, row * 64))[3, 3].tolist() == [255, 128, 1]


def test_one_bit():
    bits = photo()[..., 0] > 100
    for kind in ("PNG", "BMP"):
        assert np.array_equal(open_upload(save(Image.fromarray(bits), kind))[..., 2], bits * 255)


def test_cmyk_and_rgb_jpegs_of_adobe():
    rgb = JPEG[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + JPEG[20:]  # marked: stored without YCbCr
    assert np.array_equal(open_upload(rgb), decoded(rgb))
    paper, cyan = Image.new("CMYK", (64, 64), (0, 0, 0, 0)), Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    assert open_upload(save(paper, "JPEG")).min() >= 250
    assert np.abs(open_upload(save(cyan, "JPEG"))[9, 9].astype(int) - (0, 255, 255)).max() <= 5


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True})])
def test_first_picture_of_an_animation(kind, options):
    others = [Image.fromarray(np.roll(photo(), k, axis=0)) for k in range(1, 40)]
    data = save(photo(), kind, save_all=True, append_images=others, **options)
    assert Image.open(BytesIO(data)).n_frames == 40
    assert np.array_equal(open_upload(data), photo())


# --- Odd and hostile files that still hold a picture
JPEG, PNG = save(photo(), "JPEG"), save(photo(), "PNG")
SPLIT_EXIF = segment(0xE1, b"Exif\0\0" + b"a" * 10)

CARRIERS = {
    "JPEG and ZIP in one": JPEG + b"PK\x03\x04" + b"\xff\xda" * 500,
    "PNG and PDF in one": PNG + b"%PDF-1.7\n%%EOF",
    "JPEG, 4 MB profile": with_segments(JPEG, *[segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000))] * 60),
    "JPEG, EXIF in 15,000 pieces": with_segments(JPEG, *[SPLIT_EXIF] * 15_000),
    "JPEG, bare bytes between segments": JPEG[:20] + b"\0\1\2\xff\xff" + JPEG[20:],
    "PNG, 3 MB profile": with_chunk(PNG, b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000))),
    "PNG, 9 MB EXIF": with_chunk(PNG, b"eXIf", bytes(9_000_000)),
    "PNG, text that inflates to 50 MB": with_chunk(PNG, b"zTXt", b"t\0\0" + zlib.compress(bytes(50_000_000))),
    "WEBP, 2 MB profile": save(photo(), "WEBP", lossless=True, icc_profile=bytes(2_000_000)),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_odd_file_gives_its_picture(name):
    expected = decoded(JPEG) if name.startswith("JPEG") else photo()
    assert np.array_equal(open_upload(CARRIERS[name]), expected)


# --- Refused
WHOLE = {
    "PNG": PNG,
    "JPEG": JPEG,
    "progressive JPEG": save(photo(300, 300), "JPEG", progressive=True),
    "JPEG with thumbnail": with_segments(JPEG, segment(0xE1, b"Exif\0\0" + JPEG)),
    "WEBP": save(photo(), "WEBP"),
    "animated WEBP": save(photo(), "WEBP", save_all=True, append_images=[Image.fromarray(photo()[::-1])]),
    "BMP": save(photo(), "BMP"),
}


@pytest.mark.parametrize("percent", [*range(10, 100, 10), 99.9])
@pytest.mark.parametrize("name", WHOLE)
def test_truncated_file_says_so(name, percent):
    data = WHOLE[name]
    assert "the file ends early" in refusal(data[: int(len(data) * percent / 100)])


def test_file_cut_in_its_header_is_refused():
    for data in WHOLE.values():
        for length in range(1, 64, 3):
            refusal(data[:length])


FOREIGN = {
    "text": b"Dear reader, this is not a picture.\n" * 20,
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
    "FITS": b"SIMPLE  =                    T" + b" " * 2850,
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n",
    "PDF": save(photo(), "PDF"),
    "GIF": save(photo(), "GIF"),
    "animated GIF": save(photo(), "GIF", save_all=True, append_images=[Image.fromarray(photo()[::-1])]),
    "TIFF of NaN": save(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"),
    "GIF in front of a PNG": b"GIF89a" + PNG,
}
WIDE_JPEG = JPEG.replace(struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", 65_000, 65_000), 1)
SCAN = segment(0xDA, b"\x01\x01\0\0\0\0")
REFUSED = {
    **{name: (data, uploads.UNKNOWN) for name, data in FOREIGN.items()},
    "nothing": (b"", uploads.EMPTY),
    "10 MB and one byte": (PNG + bytes(uploads.MAX_BYTES - len(PNG) + 1), uploads.TOO_HEAVY),
    "1 x 1": (save(photo()[:1, :1], "PNG"), uploads.TOO_SMALL),
    "7 x 64": (save(photo()[:7], "PNG"), uploads.TOO_SMALL),
    "1 x 60000": (hand_png(1, 60_000, 8, 0, b"\0\0" * 60_000), uploads.TOO_LARGE),
    "100 x 12001": (hand_png(12_001, 100, 1, 0, bytes(1_502 * 100)), uploads.TOO_LARGE),
    "26 megapixels": (hand_png(5_200, 5_000, 1, 0, bytes(651 * 5_000)), uploads.TOO_LARGE),
    "100 megapixels": (hand_png(10_000, 10_000, 1, 0, bytes(1_251 * 10_000)), uploads.TOO_LARGE),
    "PNG of 2^31 x 2^31": (hand_png(2**31 - 1, 2**31 - 1, 8, 6, b""), uploads.TOO_LARGE),
    "JPEG of 65,000 x 65,000": (WIDE_JPEG, uploads.TOO_LARGE),
    "BMP of 100,000 x 100,000": (bmp(100_000, 100_000), uploads.TOO_LARGE),
    "WEBP of 16,000 x 16,000": (webp_canvas(16_000, 16_000), uploads.TOO_LARGE),
    "BMP in runs": (bmp(1_000, 1_000, 1, b"\1\5" * 9_000), uploads.TOO_SLOW),
    "JPEG of 5,000 scans": (JPEG[:-2] + SCAN * 5_000 + JPEG[-2:], uploads.TOO_SLOW),
    "JPEG of 90,000 segments": (with_segments(JPEG, *[segment(0xFE, b"")] * 90_000), uploads.TOO_SLOW),
    "PNG of 90,000 data chunks": (PNG[:33] + chunk(b"IDAT") * 90_000 + PNG[33:], uploads.TOO_SLOW),
    "PNG with broken pixels": (PNG[:80] + b"\x55" * 40 + PNG[120:], uploads.DAMAGED),
    "PNG without pixels": (PNG[:33] + chunk(b"IEND"), uploads.DAMAGED),
    "text that begins like a BMP": (b"BMW builds cars and motorcycles in Munich. " * 9, uploads.UNKNOWN),
    "WEBP that is noise inside": (b"RIFF\xf8\0\0\0WEBPVP8 " + b"\x5a" * 240, uploads.TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_sentence_that_fits(name, tmp_path):
    data, sentence = REFUSED[name]
    path = tmp_path / "secret-name.png"
    path.write_bytes(data)
    said = refusal(path)
    assert said == refusal(data) == sentence


def test_every_sentence_reads_like_one():
    sentences = [v for k, v in vars(uploads).items() if k.isupper() and isinstance(v, str)]
    assert len(sentences) == 10 == len(set(sentences))
    for sentence in sentences:
        assert_sentence(sentence)
    assert (uploads.MAX_BYTES, uploads.MAX_PIXELS) == (10_000_000, 25_000_000)  # as the sentences say
    assert f"{uploads.MAX_SIDE:,} pixels a side" in uploads.TOO_LARGE
    assert f"at least {uploads.MIN_SIDE} pixels" in uploads.TOO_SMALL


def test_missing_file_and_folder(tmp_path):
    assert refusal(tmp_path / "none.png") == refusal(tmp_path) == refusal("") == uploads.UNREADABLE


def test_heavy_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(10**12)  # no disk is used
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the file was read"))
    assert refusal(path) == uploads.TOO_HEAVY


def test_a_taken_file_is_gone_and_is_the_same_for_whoever_comes_second(tmp_path):
    path = tmp_path / "same.png"
    path.write_bytes(b"first")
    assert take(str(path)) == take(str(path)) == b"first" and not path.exists()
    path.write_bytes(b"another")
    assert take(str(path)) == b"another"


def test_few_bytes_of_taken_files_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "LATELY", 10)
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        Path(path).write_bytes(b"12345")
        take(path)
    assert take(paths[1]) == take(paths[2]) == b"12345"
    with pytest.raises(Refused, match=uploads.UNREADABLE):
        take(paths[0])


def test_what_cannot_be_taken_is_said_and_deleted(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, sentence in ((None, uploads.UNREADABLE), (str(tmp_path / "none.png"), uploads.UNREADABLE),
                           (str(empty), uploads.EMPTY)):
        with pytest.raises(Refused, match=sentence):
            take(path)
    assert not empty.exists()


def test_any_flipped_byte_gives_a_picture_or_a_sentence():
    rng = np.random.default_rng(0)
    for data in 40 * [*WHOLE.values()]:
        damaged = bytearray(data)
        damaged[rng.integers(min(len(data), 700))] ^= 1 << int(rng.integers(8))
        try:
            assert open_upload(bytes(damaged)).shape == (SIDE, SIDE, 3)
        except Refused as refused:
            assert_sentence(str(refused))


MEASURE = """
import resource, sys
from app.uploads import Refused, open_upload
bomb, sound = (open(path, "rb").read() for path in sys.argv[1:3])
open_upload(sound)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 16_000_000, -1))
try:
    open_upload(bomb)
except Refused as refused:
    print(refused)
"""
BOMBS = {
    "PNG": hand_png(20_000, 10_000, 1, 0, bytes(2_501 * 10_000)),  # 200 megapixels in 25 kB
    "JPEG": WIDE_JPEG,
    "WEBP": webp_canvas(16_000, 16_000),
    "BMP": bmp(100_000, 100_000),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
@pytest.mark.parametrize("kind", BOMBS)
def test_bomb_is_refused_within_16_mb(kind, tmp_path):
    assert len(BOMBS[kind]) < 50_000
    (tmp_path / "bomb").write_bytes(BOMBS[kind])
    (tmp_path / "sound").write_bytes(WHOLE[kind])
    command = [sys.executable, "-c", MEASURE, tmp_path / "bomb", tmp_path / "sound"]
    root = Path(uploads.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == uploads.TOO_LARGE, done.stderr
