"""The shipped sample images: what was built is what is read, and damage is told."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data import load, split
from engine.files import MANIFEST, Damaged, write_manifest
from engine.make_gallery import build

module = importlib.import_module("engine.gallery")  # the package shows its function under the same name
SHIPPED = module.GALLERY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of one's own."""
    monkeypatch.setattr(module, "GALLERY", tmp_path / "gallery")
    return tmp_path / "gallery"


def test_a_gallery_holds_images_nothing_was_trained_on(folder):
    path = build("dsprites", folder)
    assert path == folder / "dsprites.png"
    data = load("dsprites")
    train, held_out = split(len(data))
    images = module.gallery("dsprites")
    assert images.shape == (24, 64, 64, 3) and images.dtype == np.uint8 and images.flags.writeable
    for image, number in zip(images, held_out[:24], strict=True):
        assert (image == data.images(number[None])[0, 0].numpy()[..., None]).all()
    assert not set(held_out[:24].tolist()) & set(train.tolist())


def test_colours_and_order_are_kept_and_building_twice_is_the_same(folder):
    path = build("shapes3d", folder)
    first = path.read_bytes()
    assert build("shapes3d", folder).read_bytes() == first
    data = load("shapes3d")
    expected = data.images(split(len(data))[1][:24]).permute(0, 2, 3, 1).numpy()
    assert (module.gallery("shapes3d") == expected).all()
    build("dsprites", folder)
    assert set(json.loads((folder / MANIFEST).read_text())) == {"dsprites.png", "shapes3d.png"}
    assert (module.gallery("shapes3d") == expected).all()


@pytest.mark.parametrize("name", ["faces", "", ".", "..", "../../secret", "/etc/passwd", "a\0b"])
def test_where_nothing_is_shipped_there_are_no_images(folder, name):
    assert module.gallery(name).shape == (0, 64, 64, 3)


def test_a_name_never_leaves_the_folder(folder):
    build("dsprites", folder)
    Image.new("RGB", (64, 64), "red").save(folder.parent / "secret.png")
    write_manifest(folder.parent)
    assert len(module.gallery("../secret")) == 0
    assert len(module.gallery("some/where/dsprites")) == 0   # a folder of that name holds other pictures


def test_a_damaged_gallery_is_refused(folder):
    path = build("dsprites", folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"dsprites\.png is damaged"):
        module.gallery("dsprites")


@pytest.mark.parametrize("content", ["text", "jpeg", "truncated", "low", "odd"])
def test_a_sheet_that_is_none_is_refused_though_its_manifest_matches(folder, content):
    path = build("dsprites", folder)
    if content == "text":
        path.write_bytes(b"no picture")
    elif content == "jpeg":
        Image.new("RGB", (128, 64)).save(path, "JPEG")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:600])
    else:
        Image.new("RGB", (128, 32) if content == "low" else (100, 64)).save(path, "PNG")
    write_manifest(folder)
    with pytest.raises(Damaged, match=r"dsprites\.png is not"):
        module.gallery("dsprites")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.png")), ids=lambda p: p.stem)
def test_the_shipped_galleries_are_whole(path):
    images = module.gallery(path.stem)
    assert images.shape == (24, 64, 64, 3)
    assert len(np.unique(images.reshape(24, -1), axis=0)) > 20
