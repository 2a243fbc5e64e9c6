"""Pictures of every odd kind, and files that only pretend to be pictures."""

import os
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data import DataError
from engine.data import folder as module
from engine.data.folder import CROPS, ImageFolder, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    """128x128, one colour left and one right."""
    image = Image.new(mode, (128, 128), left)
    image.paste(right, (64, 0, 128, 128))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


# ------------------------------------------------------------------------------------------------
# Pixels

def test_a_64x64_picture_keeps_every_pixel() -> None:
    image = noise(64, 64)
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})):
        assert np.array_equal(decode(encoded(image, kind, **options)), np.asarray(image))


def test_wide_and_tall_pictures_are_cut_to_the_centre() -> None:
    wide, tall = noise(100, 64), noise(64, 100)
    assert np.array_equal(decode(encoded(wide)), np.asarray(wide)[:, 18:82])
    assert np.array_equal(decode(encoded(tall)), np.asarray(tall)[18:82])


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decode(encoded(Image.fromarray(stripes)))
    assert abs(small.astype(int)[:, 2:-2] - 128).max() <= 3


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(64, 64).convert("L")
    assert np.array_equal(decode(encoded(grey)), np.asarray(grey)[..., None].repeat(3, axis=2))


def test_sixteen_bit_grey_is_scaled() -> None:
    levels = np.arange(64, dtype=np.uint16)[None].repeat(64, axis=0) * 1024
    small = decode(encoded(Image.fromarray(levels)))
    assert np.array_equal(small[..., 0], levels >> 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_becomes_white(mode: str) -> None:
    image = halves((0, 0, 0, 255), (0, 0, 0, 0), "RGBA")
    options = {}
    if mode == "P":
        image, options = halves((0,), (1,), "P"), {"transparency": 1}
        image.putpalette([0, 0, 0, 9, 9, 9])
    small = decode(encoded(image if mode == "P" else image.convert(mode), **options))
    assert (small[:, :31] == 0).all() and (small[:, 33:] == 255).all()


def test_half_transparent_is_blended() -> None:
    small = decode(encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 128))))
    assert (small == 127).all()


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned clockwise: its left becomes the top
    small = decode(encoded(halves(RED, BLUE), "JPEG", exif=exif, quality=95)).astype(int)
    assert abs(small[:30] - RED).max() < 8 and abs(small[34:] - BLUE).max() < 8


def test_cmyk_jpeg_keeps_its_colours() -> None:
    small = decode(encoded(halves(RED, WHITE).convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert abs(small[:, :28] - RED).max() < 12 and abs(small[:, 36:] - WHITE).max() < 12


def test_large_photographs_come_out_as_small_ones_do() -> None:
    large = noise(8, 8).resize((2048, 2048), Image.Resampling.BICUBIC)
    small = np.asarray(large.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert abs(decode(encoded(large, "JPEG", quality=95)) - small).mean() < 2


# ------------------------------------------------------------------------------------------------
# Hostile files

@pytest.mark.parametrize(
    "data, reason",
    [
        (b"I am a text.", "not a picture"),
        (b"", "not a picture"),
        (encoded(noise(64, 64), "GIF"), "not a picture"),
        (encoded(noise(200, 200), "JPEG")[:4000], "damaged"),
        (encoded(noise(200, 200))[:4000], "damaged"),
        (png_header(20_000, 10_000), "larger than 25 megapixels"),
        (png_header(10_000, 9_999), "larger than 25 megapixels"),
        (png_header(5_001, 5_000), "larger than 25 megapixels"),
        (png_header(5_000, 5_000), "damaged"),
    ],
)
def test_unusable_files_give_a_reason(data: bytes, reason: str, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        decode(data)


def test_bad_files_are_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(encoded(noise(64, 64, 1)))
    (tmp_path / "a.jpg").write_bytes(encoded(noise(64, 64), "JPEG")[:500])
    (tmp_path / "c.png").write_bytes(b"text")
    (tmp_path / "d.bmp").write_bytes(encoded(noise(64, 64, 2), "BMP"))
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 10_000))
    (tmp_path / "notes.txt").write_text("ignored")
    data = ImageFolder(tmp_path)
    assert data.files == ("b.png", "d.bmp") and len(data) == 2
    assert data.skipped == {
        "a.jpg": "damaged",
        "c.png": "not a picture",
        "huge.png": "larger than 25 megapixels",
    }
    assert data.report.endswith("; 3 skipped: 1 damaged, 1 not a picture, 1 larger than 25 megapixels.")
    index = torch.tensor([1, 0])
    expected = np.stack([np.asarray(noise(64, 64, 2)), np.asarray(noise(64, 64, 1))])
    assert np.array_equal(data.images(index).permute(0, 2, 3, 1).numpy(), expected)
    assert data.labels(index).shape == (2, 0) and data.factors == () and data.channels == 3


def test_oversized_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise(8, 8)))
    with open(tmp_path / "b.png", "wb") as file:
        file.truncate(module.MAX_BYTES + 1)
    read = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or original(path))
    assert ImageFolder(tmp_path).skipped == {"b.png": "larger than 100 MB"}
    assert read == ["a.png"]


def test_folders_are_searched_but_links_and_hidden_files_are_not(tmp_path: Path) -> None:
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for name in ("x/y/1.PNG", "2.jpeg", ".thumbnails/3.png", "._4.png"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(encoded(noise(64, 64), "JPEG" if name.endswith("jpeg") else "PNG"))
    elsewhere.mkdir()
    (elsewhere / "private.png").write_bytes(encoded(noise(64, 64)))
    (pictures / "link.png").symlink_to(elsewhere / "private.png")
    (pictures / "link").symlink_to(elsewhere)
    (pictures / "loop").symlink_to(pictures)
    os.mkfifo(pictures / "pipe.png")
    assert ImageFolder(pictures).files == ("2.jpeg", "x/y/1.PNG")


def test_an_empty_folder_and_a_hopeless_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no jpg, png, webp or bmp"):
        ImageFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"No picture of 1 in .* can be read: a\.png is not a picture\."):
        ImageFolder(tmp_path)


def test_the_limit_spreads_over_the_folder(tmp_path: Path) -> None:
    for k in range(10):
        (tmp_path / f"{k}.png").write_bytes(encoded(noise(8, 8, k)))
    data = ImageFolder(tmp_path, limit=4)
    assert data.files == ("0.png", "2.png", "5.png", "7.png")
    assert "4 pictures" in data.report and "at even distances from 10" in data.report


# ------------------------------------------------------------------------------------------------
# Archives

def test_a_zip_reads_as_its_folder_would_and_leaves_nothing_behind(tmp_path: Path) -> None:
    members = {"a/1.png": encoded(noise(64, 64, 1)), "2.png": encoded(noise(64, 64, 2))}
    members |= {"../evil.png": members["2.png"], "/abs/evil.png": members["2.png"], "__MACOSX/._2.png": b"x"}
    inner = tmp_path / "inner"
    inner.mkdir()
    data = ImageFolder(write_zip(inner / "pictures.zip", members))
    assert [name for name in data.files if "evil" not in name] == ["2.png", "a/1.png"]
    assert "../evil.png" not in data.files and not data.skipped
    picture = data.images(torch.tensor([data.files.index("a/1.png")]))[0]
    assert np.array_equal(picture.permute(1, 2, 0).numpy(), np.asarray(noise(64, 64, 1)))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "pictures.zip"]


def test_a_member_too_large_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    members = {"bomb.png": bytes(1_000_001), "fine.png": encoded(noise(64, 64))}
    path = write_zip(tmp_path / "x.zip", members)
    read = []
    original = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *who: read.append(who[1].filename) or original(*who))
    assert ImageFolder(path).skipped == {"bomb.png": "larger than 1 MB"}
    assert read == ["fine.png"]


def test_archives_with_too_much_in_them_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "x.zip", {f"{k}.png": bytes(1000) for k in range(11)})
    monkeypatch.setattr(module, "MAX_MEMBERS", 10)
    with pytest.raises(DataError, match=r"x\.zip unpacks to 11 files"):
        ImageFolder(path)
    monkeypatch.setattr(module, "MAX_MEMBERS", 100)
    monkeypatch.setattr(module, "MAX_UNPACKED", 10_999)
    with pytest.raises(DataError, match=r"x\.zip unpacks to 11 files"):
        ImageFolder(path)


def test_a_member_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"liar.png": bytes(5_000_000), "fine.png": encoded(noise(64, 64))})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 100)))
    assert ImageFolder(path).skipped == {"liar.png": "damaged"}


def test_packing_methods_without_bounds_are_skipped(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.png": encoded(noise(64, 64))})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("b.png", encoded(noise(64, 64)))
    assert ImageFolder(path).skipped == {"b.png": "packed by an unusual method"}


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.png": encoded(noise(64, 64))})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"x\.zip is neither a folder nor a readable zip"):
        ImageFolder(path)


# ------------------------------------------------------------------------------------------------
# CelebA

ATTRIBUTES = "3\nMale Wavy_Hair\n000001.png -1  1\n000002.jpg  1 -1\n000003.jpg  1  1\n"


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Two aligned faces and their attributes; 000002 is damaged."""
    faces = tmp_path / "celeba" / "img_align_celeba"
    faces.mkdir(parents=True)
    (faces / "000001.jpg").write_bytes(encoded(noise(178, 218, 1), "JPEG", quality=95))
    (faces / "000002.jpg").write_bytes(b"damaged")
    (faces / "000003.jpg").write_bytes(encoded(noise(178, 218, 3), "JPEG", quality=95))
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text(ATTRIBUTES.replace("1.png", "1.jpg"))
    return tmp_path / "celeba"


@pytest.mark.parametrize("crop", CROPS)
def test_celeba_crops(celeba: Path, crop: str) -> None:
    data = ImageFolder(celeba, crop)
    source = Image.open(celeba / "img_align_celeba" / "000003.jpg")
    expected = source.crop(CROPS[crop]).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(data.images(torch.tensor([1]))[0].permute(1, 2, 0).numpy(), np.asarray(expected))
    assert data.crop == crop and crop in data.origin


def test_celeba_crop_boxes_are_the_published_ones() -> None:
    assert CROPS["d2c"] == (89 - 64, 121 - 64, 89 + 64, 121 + 64)  # D2C: rows 57 to 185, columns 25 to 153
    for side in (148, 140, 178):
        left, top, right, bottom = CROPS[str(side)]
        assert right - left == bottom - top == side
        assert (left + right, top + bottom) == (178, 218)


@pytest.mark.parametrize("where", ["root", "faces", "zip", "zip beside"])
def test_celeba_attributes_follow_the_pictures(celeba: Path, where: str, tmp_path: Path) -> None:
    faces = celeba / "img_align_celeba"
    path = {"root": celeba, "faces": faces}.get(where)
    if path is None:
        members = {f"img_align_celeba/{file.name}": file.read_bytes() for file in faces.iterdir()}
        if where == "zip":
            members["Anno/list_attr_celeba.txt"] = (celeba / "list_attr_celeba.txt").read_bytes()
        path = write_zip((tmp_path if where == "zip" else celeba) / "img_align_celeba.zip", members)
    data = ImageFolder(path)
    assert len(data) == 2 and list(data.skipped.values()) == ["not a picture"]
    assert [(factor.name, factor.values) for factor in data.factors] == [
        ("Male", (-1.0, 1.0)),
        ("Wavy Hair", (-1.0, 1.0)),
    ]
    assert data.labels(torch.tensor([1, 0])).tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_celeba_without_attributes_has_no_factors(celeba: Path) -> None:
    (celeba / "list_attr_celeba.txt").unlink()
    assert ImageFolder(celeba).factors == ()


@pytest.mark.parametrize("text", ["", "3\n", ATTRIBUTES, ATTRIBUTES.replace("1.png -1", "1.jpg 7")])
def test_unfitting_attributes_are_refused(celeba: Path, text: str) -> None:
    (celeba / "list_attr_celeba.txt").write_text(text)
    with pytest.raises(DataError, match=r"list_attr_celeba\.txt has no row of \d values .*000001\.jpg"):
        ImageFolder(celeba)


def test_faces_of_another_size_are_skipped(celeba: Path) -> None:
    (celeba / "img_align_celeba" / "000001.jpg").write_bytes(encoded(noise(64, 64), "JPEG"))
    skipped = ImageFolder(celeba).skipped
    assert skipped["img_align_celeba/000001.jpg"] == "not 178x218 as CelebA's aligned faces are"


def test_an_unknown_crop_is_refused(celeba: Path) -> None:
    with pytest.raises(DataError, match="Unknown crop '200', expected one of d2c, 148, 140, 178"):
        ImageFolder(celeba, "200")


def test_progress_is_the_share_decoded(tmp_path: Path) -> None:
    folder, told = tmp_path / "pictures", []
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.png").write_bytes(encoded(noise(64, 64, number)))
    ImageFolder(folder, progress=told.append)
    assert told == sorted(told) and len(told) > 1 and told[-1] == 1
