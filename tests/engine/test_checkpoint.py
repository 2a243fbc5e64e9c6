"""Model folders: what is written comes back bit for bit, and nothing else is ever loaded."""

import copy
import hashlib
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from engine import checkpoint, factors
from engine.files import MANIFEST, Damaged, write_manifest
from engine.method import method
from tests.tiny import noise, tiny_vae

ALL = (*checkpoint.FILES, MANIFEST)
DELETE = object()


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A model folder of one's own."""
    return Path(shutil.copytree(models / "first", tmp_path / "model"))


def refused(folder: Path, name: str, reason: str | None = None) -> None:
    """The folder is refused by a Damaged that names the file, in one line."""
    with pytest.raises(Damaged, match=reason) as caught:
        checkpoint.load(folder)
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(folder)) + 400


def rewrite(folder: Path, name: str, change: Callable) -> None:
    """Change the JSON of a file and make the manifest match."""
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(change(content)))
    write_manifest(folder)


def put(content: object, path: tuple, value: object) -> object:
    """The JSON `content` with the entry at `path` set to `value`, or deleted."""
    if not path:
        return value
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is DELETE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


def shown(value: object) -> str:
    """The name of a parameter in the list of tests."""
    return "deleted" if value is DELETE else repr(value)[:30]


# ------------------------------------------------------------------------------------------------
# Round trips

def test_a_model_comes_back_bit_for_bit(folder):
    original = tiny_vae(0)
    model, table, config = checkpoint.load(folder)
    codes = 3 * torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    images = noise(16, seed=1).float() / 255
    assert torch.equal(model.decode(codes), original.decode(codes))
    assert torch.equal(model.encode(images), original.encode(images))
    assert table == factors.fit(original, noise(256))
    assert model.config == original.config and config["method"] == "vae" and config["data"] == "shapes3d"
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_weights_may_be_stored_at_half_precision(tmp_path):
    model, images = tiny_vae(), noise(64)
    table, mean = factors.fit(model, images), torch.zeros(model.code_size)
    sizes = []
    for model.stored in (torch.float32, torch.float16):
        checkpoint.save(tmp_path, model, table, mean, "shapes3d", "# A card\n", {})
        sizes.append((tmp_path / "model.safetensors").stat().st_size)
    assert sizes[1] < 0.55 * sizes[0]
    loaded = checkpoint.load(tmp_path)[0].state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32 and torch.equal(loaded[name], tensor.half().float())


def test_scores_go_with_the_weights_they_were_measured_of(folder):
    model, table, config = checkpoint.load(folder)
    model.stored = torch.float32  # as the tiny ones are
    (folder / checkpoint.METRICS).write_text('{"MIG": 0.99}')
    write_manifest(folder)
    again = (table, torch.tensor(config["mean"]), config["data"], "card", config["figures"])
    checkpoint.save(folder, model, *again)
    assert checkpoint.scores(folder) == {"MIG": 0.99}
    for tensor in model.state_dict().values():
        tensor.mul_(0.5)
    checkpoint.save(folder, model, *again)
    assert checkpoint.scores(folder) == {}


def test_weights_are_known_by_their_digest_and_size(folder):
    data = (folder / "model.safetensors").read_bytes()
    assert checkpoint.weights(folder) == (hashlib.sha256(data).hexdigest(), len(data))


def test_saving_what_was_loaded_writes_the_same_bytes(folder, tmp_path):
    model, table, config = checkpoint.load(folder)
    model.stored = torch.float32  # as it was saved
    card = (folder / "card.md").read_text()
    checkpoint.save(tmp_path / "again", model, table, torch.tensor(config["mean"]), config["data"], card,
                    config["figures"])
    for name in ALL:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("name", ["vae", "protovae", "annealed", "factorvae", "dipvae", "dotvae", "qlae"])
def test_every_config_that_a_method_can_have_is_read_back(name, tmp_path, models):
    cls = method(name)
    config = replace(cls.Config(), latents=4, encoder_width=4, decoder_width=4)
    model = cls(config, 3)
    model.stored = torch.float32
    _, table, _ = checkpoint.load(models / "first")
    checkpoint.save(tmp_path / name, model, table, torch.zeros(model.code_size), "dsprites", "", {})
    again, *_ = checkpoint.load(tmp_path / name)
    assert json.dumps(vars(again.config)) == json.dumps(vars(config))
    whole, kept = model.state_dict(), again.state_dict()
    assert all(torch.equal(whole[k], v) for k, v in kept.items())
    assert {k.split(".")[0] for k in whole.keys() - kept.keys()} == set(cls.training_only)


def test_the_manifest_of_a_model_names_every_other_file(models):
    for folder in models.iterdir():
        assert set(json.loads((folder / MANIFEST).read_text())) == set(checkpoint.FILES)
        assert {p.name for p in folder.iterdir()} == set(ALL)


# ------------------------------------------------------------------------------------------------
# Damage: the manifest does not match

def test_one_flipped_bit_anywhere_is_refused(folder):
    generator = np.random.default_rng(0)
    for name in checkpoint.FILES:
        whole = (folder / name).read_bytes()
        for place in generator.integers(0, 8 * len(whole), 25):
            data = bytearray(whole)
            data[place // 8] ^= 1 << place % 8
            (folder / name).write_bytes(data)
            refused(folder, name, "sha256 differs")
        (folder / name).write_bytes(whole)
    checkpoint.load(folder)


def test_one_flipped_bit_in_the_manifest_is_refused(folder):
    generator = np.random.default_rng(1)
    whole = (folder / MANIFEST).read_bytes()
    for place in generator.integers(0, 8 * len(whole), 25):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        if data.split() == whole.split():  # one kind of white space for another says the same
            continue
        (folder / MANIFEST).write_bytes(data)
        with pytest.raises(Damaged) as caught:
            checkpoint.load(folder)
        assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_truncated_file_is_refused(folder, name, share):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:int(share * len(data))])
    refused(folder, name)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    refused(folder, name, "missing")


@pytest.mark.parametrize("name", ["model.safetensors", "factors.json"])
def test_files_of_another_model_are_refused(folder, models, name):
    shutil.copy(models / "second" / name, folder / name)
    refused(folder, name, "sha256 differs")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "nothing", MANIFEST, "missing")


# ------------------------------------------------------------------------------------------------
# Forgery: the manifest matches, and the content is no model all the same

def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((folder / "model.safetensors").read_bytes())


def forge(folder: Path, tensors: dict[str, torch.Tensor] | bytes) -> None:
    data = tensors if isinstance(tensors, bytes) else safetensors.torch.save(tensors)
    (folder / "model.safetensors").write_bytes(data)
    write_manifest(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_refused(folder, value):
    tensors = weights(folder)
    tensors[list(tensors)[-1]].view(-1)[-1] = value
    forge(folder, tensors)
    refused(folder, "model.safetensors", "not finite")


def test_a_number_too_large_for_the_model_is_refused(folder):
    tensors = weights(folder)
    name = next(k for k in tensors if k.endswith("weight"))
    tensors[name] = tensors[name].double() * 1e300
    forge(folder, tensors)
    refused(folder, "model.safetensors", "not finite")


def test_extra_missing_and_renamed_tensors_are_refused(folder):
    tensors = weights(folder)
    name = next(iter(tensors))
    forge(folder, tensors | {"extra": torch.zeros(1)})
    refused(folder, "model.safetensors", "extra")
    rest = {k: v for k, v in tensors.items() if k != name}
    forge(folder, rest)
    refused(folder, "model.safetensors", name)
    forge(folder, rest | {"other": tensors[name]})
    refused(folder, "model.safetensors")
    forge(folder, {})
    refused(folder, "model.safetensors")


def test_a_reshaped_header_is_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    name = next(k for k, v in header.items() if len(v["shape"]) == 4 and v["shape"][0] != v["shape"][1])
    header[name]["shape"] = header[name]["shape"][1:] + header[name]["shape"][:1]
    text = json.dumps(header).encode()
    forge(folder, struct.pack("<Q", len(text)) + text + data[8 + size:])
    refused(folder, "model.safetensors", name)


def test_a_header_of_a_hundred_thousand_entries_is_refused(folder):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({str(k): entry for k in range(100_000)}).encode()
    forge(folder, struct.pack("<Q", len(text)) + text)
    refused(folder, "model.safetensors")


@pytest.mark.parametrize("data", [
    b"", b"\0" * 8, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 4) + b"null",
    b"PK\x03\x04" + b"\0" * 100, b"<html>" * 100,
], ids=shown)
def test_bytes_that_are_no_tensors_are_refused(folder, data):
    forge(folder, data)
    refused(folder, "model.safetensors")


class Bomb:
    """Unpickling it would tell."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_a_renamed_pickle_is_refused_unopened(folder):
    forge(folder, pickle.dumps(Bomb()))
    refused(folder, "model.safetensors")
    torch.save({"x": torch.zeros(2)}, folder / "model.safetensors")
    write_manifest(folder)
    refused(folder, "model.safetensors")


def test_the_files_of_a_model_of_another_shape_are_refused(folder, models):
    shutil.copy(models / "third-grey" / "model.safetensors", folder / "model.safetensors")
    write_manifest(folder)
    refused(folder, "model.safetensors", "size mismatch")


WRONG_CONFIGS = [
    ((), []), ((), None), ((), 7), ((), "vae"), ((), {}),
    (("method",), "diffusion"), (("method",), None), (("method",), ["vae"]), (("method",), "../vae"),
    (("method",), DELETE), (("data",), DELETE), (("data",), 7), (("data",), None),
    (("channels",), 2), (("channels",), "3"), (("channels",), 3.0), (("channels",), None), (("channels",), True),
    (("channels",), [3]), (("channels",), DELETE),
    (("config",), DELETE), (("config",), []), (("config",), "latents"), (("config",), None), (("config",), {}),
    (("config", "unheard_of"), 1), (("config", "latents"), 5), (("config", "latents"), "4"),
    (("config", "latents"), 4.0), (("config", "latents"), True), (("config", "latents"), -1),
    (("config", "latents"), 0), (("config", "latents"), 10**30), (("config", "latents"), None),
    (("config", "objective"), "best"), (("config", "objective"), ["beta"]), (("config", "objective"), 1),
    (("config", "beta"), "1"), (("config", "beta"), float("nan")), (("config", "beta"), []),
    (("config", "beta"), None), (("config", "encoder_width"), 8), (("config", "decoder_width"), 3),
    (("mean",), DELETE), (("mean",), None), (("mean",), 4), (("mean",), "abcd"), (("mean",), {}),
    (("mean",), [0.0] * 3), (("mean",), [0.0] * 5), (("mean", 0), "0"), (("mean", 0), None), (("mean", 0), [0]),
    (("mean", 0), float("nan")), (("mean", 0), float("inf")), (("mean", 0), 1e300), (("mean", 0), 10**400),
    (("mean", 0), True),
    (("figures",), DELETE), (("figures",), []), (("figures",), None), (("figures", "mig"), "high"),
    (("figures", "mig"), float("nan")), (("figures", "mig"), None), (("figures", "mig"), {}),
]


@pytest.mark.parametrize(("path", "value"), WRONG_CONFIGS, ids=shown)
def test_a_config_that_describes_no_model_is_refused(folder, path, value):
    rewrite(folder, "config.json", lambda content: put(content, path, value))
    with pytest.raises(Damaged) as caught:
        checkpoint.load(folder)
    # Options of the right kind that do not fit the weights can only be told by the weights or the factors.
    told = [name for name in checkpoint.FILES if str(folder / name) in str(caught.value)]
    assert told == ["config.json"] or (path[:1] == ("config",) and isinstance(value, int | dict))
    assert "\n" not in str(caught.value)


WRONG_FACTORS = [
    ((), {}), ((), None), ((), 7), ((), "z0"), ((0,), None), ((0,), []), ((0,), "z0"), ((0,), {}),
    ((0, "unheard_of"), 1), ((0, "name"), DELETE), ((0, "name"), 7), ((0, "name"), None), ((0, "name"), ""),
    ((0, "name"), ["z0"]), ((0, "name"), "z1"), ((0, "role"), "villain"), ((0, "role"), None), ((0, "role"), []),
    ((0, "where"), DELETE), ((0, "where"), None), ((0, "where"), 0), ((0, "where"), "01"), ((0, "where"), [0]),
    ((0, "where"), [0, 1, 2]), ((0, "where"), [0.0, 1.0]), ((0, "where"), [0, 2]), ((0, "where"), [4, 5]),
    ((0, "where"), [-1, 0]), ((0, "where"), [1, 1]), ((0, "where"), [1, 0]), ((0, "where"), [False, True]),
    ((0, "where"), [None, None]), ((0, "where"), {"0": 1}),
    ((0, "axis"), DELETE), ((0, "axis"), None), ((0, "axis"), "1"), ((0, "axis"), []), ((0, "axis"), [1.0, 0.0]),
    ((0, "axis"), ["1"]), ((0, "axis"), [None]), ((0, "axis"), [float("nan")]), ((0, "axis"), [0.0]),
    ((0, "axis"), [2.0]), ((0, "axis"), [True]), ((0, "axis"), [[1.0]]),
    *(((0, key), bad) for key in ("low", "high")
      for bad in (DELETE, None, "0", [], True, float("nan"), float("inf"), -float("inf"), 1e300, 10**400)),
    ((0, "low"), 1e5), ((0, "high"), -1e5),
    ((0, "rank"), DELETE), ((0, "rank"), None), ((0, "rank"), "0"), ((0, "rank"), 0.5), ((0, "rank"), -2),
    ((0, "rank"), float("nan")), ((0, "rank"), True),
    ((0, "evidence"), None), ((0, "evidence"), []), ((0, "evidence"), 7), ((0, "evidence", "effect"), "large"),
    ((0, "evidence", "effect"), float("nan")), ((0, "evidence", "effect"), None),
    ((0, "quantiles"), None), ((0, "quantiles"), "01"), ((0, "quantiles"), []), ((0, "quantiles"), [0.0]),
    ((0, "quantiles"), [0.0, "1"]), ((0, "quantiles"), [0.0, None]), ((0, "quantiles"), [0.0, float("nan")]),
    ((0, "quantiles"), [1.0, 0.0]), ((0, "quantiles"), {"0": 1, "1": 2}), ((0, "quantiles"), [0.0, 1e300]),
]


@pytest.mark.parametrize(("path", "value"), WRONG_FACTORS, ids=shown)
def test_factors_that_do_not_fit_are_refused(folder, path, value):
    rewrite(folder, "factors.json", lambda content: put(content, path, value))
    refused(folder, "factors.json")


@pytest.mark.parametrize("name", ["config.json", "factors.json"])
@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, b"[1" + b"0" * 5000 + b"]", b"\0" * 50],
                         ids=shown)
def test_text_that_is_no_json_is_refused(folder, name, data):
    (folder / name).write_bytes(data)
    write_manifest(folder)
    refused(folder, name)


def test_the_model_is_as_it_was_after_all_refusals(models):
    model, *_ = checkpoint.load(models / "first")
    assert torch.equal(model.decode(torch.ones(1, 4)), tiny_vae(0).decode(torch.ones(1, 4)))
