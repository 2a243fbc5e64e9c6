"""Origins inside saved files: they come back whole, draw the same picture bit for bit, and a damaged one is refused."""

import json
import struct
import threading
import zlib
from base64 import b64encode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from engine import Engine, Refusal, provenance
from engine.provenance import DAMAGED, KEYWORD, Origin, read
from tests.serving import chequers
from tests.tiny import save_tiny


@pytest.fixture
def own(engine) -> Origin:
    code = engine.draw("first", 3)
    code = engine.edit("first", code, {"z1": 0.7})
    return provenance.origin(engine, "first", "seed:3", code, {"z1": 0.7}, names={"z1": "größe ✓"})


def saved(engine: Engine, own: Origin) -> bytes:
    return provenance.png(provenance.redraw(engine, own), own)


def test_a_saved_picture_draws_itself_again_bit_for_bit(engine, own):
    data = saved(engine, own)
    back = provenance.of(data)
    assert np.array_equal(provenance.redraw(engine, back), np.asarray(Image.open(BytesIO(data))))
    assert np.array_equal(back.code, own.code) and back.code.dtype == np.float32
    assert (back.model, back.base, back.edits, back.names) == ("first", "seed:3", {"z1": 0.7}, {"z1": "größe ✓"})
    assert back.weights == engine.model("first").weights and back.picture is None


@pytest.mark.parametrize(("side", "smooth"), [(64, False), (512, False), (256, True)])
def test_the_size_is_part_of_it(engine, own, side, smooth):
    data = saved(engine, replace(own, side=side, smooth=smooth))
    image = np.asarray(Image.open(BytesIO(data)))
    assert image.shape == (side, side, 3) and np.array_equal(provenance.redraw(engine, provenance.of(data)), image)
    small = provenance.draw(engine, "first", own.code)
    if not smooth:  # every pixel is a square of pixels
        assert np.array_equal(image, small.repeat(side // 64, 0).repeat(side // 64, 1))


def test_a_picture_is_the_same_whatever_is_drawn_beside_it(engine, own):
    alone, others = provenance.draw(engine, "first", own.code), []
    threads = [threading.Thread(target=lambda k=k: others.append(
        engine.decode("first", np.stack([engine.draw("first", k)] * 5)))) for k in range(8)]
    for thread in threads:
        thread.start()
    assert all(np.array_equal(provenance.draw(engine, "first", own.code), alone) for _ in range(4))
    for thread in threads:
        thread.join()


def test_a_users_picture_comes_along(engine, own):
    back = provenance.of(saved(engine, replace(own, base="upload:" + "0" * 64, picture=chequers(5))))
    assert np.array_equal(back.picture, chequers(5))


def test_what_was_made_is_said_and_so_is_how_to_do_it_again(engine, own):
    data = saved(engine, replace(own, made={"kind": "sheet", "columns": 11}))
    text = Image.open(BytesIO(data)).text
    assert text["Title"] == "sheet by first" and "provenance.redraw" in text["Comment"]
    assert json.loads(text[KEYWORD])["redo"] == provenance.REDO
    assert provenance.of(data).made == {"kind": "sheet", "columns": 11}


def test_other_weights_and_missing_models_are_refused(engine, own, tmp_path):
    save_tiny(tmp_path / "first", seed=7)
    other = Engine(tmp_path)
    with pytest.raises(Refusal, match="other weights of first"):
        provenance.redraw(other, own)
    with pytest.raises(Refusal, match="no model called"):
        provenance.redraw(other, replace(own, model="second"))
    other.close()
    with pytest.raises(Refusal, match="A picture is saved at 64, 256"):
        provenance.redraw(engine, replace(own, side=65))


def test_a_picture_of_somewhere_else_has_no_origin(tmp_path):
    Image.fromarray(chequers()).save(tmp_path / "plain.png")
    Image.fromarray(chequers()).save(tmp_path / "plain.jpg")
    for data in ((tmp_path / "plain.png").read_bytes(), (tmp_path / "plain.jpg").read_bytes(), b"", b"Dear reader"):
        assert provenance.of(data) is None


@pytest.mark.parametrize("change", [
    {"model": 3}, {"base": None}, {"code": "!"}, {"code": "AAA="}, {"edits": []}, {"edits": {"z0": "1"}},
    {"edits": {"z0": True}}, {"names": {"z0": 3}}, {"side": 63}, {"smooth": 1}, {"picture": "AAAA"}, {"made": 3},
    {"side": 64.0}, {"side": [64]}, {"model": "m" * 201}, {"weights sha256": None}, {KEYWORD: 1}, {"names": None},
])
def test_a_damaged_record_is_refused(own, change):
    with pytest.raises(Refusal, match=DAMAGED):
        read(json.dumps(json.loads(own.text()) | change))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, b"\xff", json.dumps({KEYWORD: "1.0"})])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(Refusal, match=DAMAGED):
        read(text)


def test_a_record_whose_picture_says_it_is_huge_is_refused(own):
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    with pytest.raises(Refusal, match=DAMAGED):
        read(json.dumps(json.loads(own.text()) | {"picture": b64encode(huge).decode()}))


def test_reading_costs_no_more_than_its_length(engine, own):
    data = saved(engine, own)
    at = data.index(b"iTXt") - 4
    long = data[:at] + struct.pack(">I", 2**31) + data[at + 4:]
    with pytest.raises(Refusal, match=DAMAGED):
        provenance.of(long)
    for end in range(0, len(data), 97):  # cut anywhere: none, whole or refused
        try:
            found = provenance.of(data[:end])
        except Refusal:
            continue
        assert found is None or np.array_equal(found.code, own.code)
