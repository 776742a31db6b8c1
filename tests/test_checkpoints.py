import json
import os

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from impl import checkpoints
from impl.checkpoints import CheckpointError, load, save

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.uint8,
    torch.bool,
]


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save(path, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), {"dim": 3, "levels": (8, 5, 5)})
    return path


def test_a_module_comes_back_bit_for_bit_with_its_config(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module(torch.randn(8, 3))
    save(
        tmp_path / "a",
        module,
        {"dim": 3, "levels": (8, 5, 5), "decay": 0.99, "name": "π", "flags": [True, None]},
    )
    state, config = load(tmp_path / "a")
    assert same(state, dict(module.state_dict()))
    assert config == {"dim": 3, "levels": (8, 5, 5), "decay": 0.99, "name": "π", "flags": [True, None]}
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other.load_state_dict(state)
    assert same(dict(other.state_dict()), dict(module.state_dict()))


def test_the_file_is_an_ordinary_safetensors_file(checkpoint):
    tensors = safetensors.torch.load_file(checkpoint)
    assert set(tensors) == set(load(checkpoint)[0])


tensors = st.builds(
    lambda dtype, shape, seed: (
        torch.randint(0, 2 if dtype == torch.bool else 100, shape).to(dtype) + seed * 0
    ),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 3),
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
states = st.recursive(
    st.one_of(plain, tensors),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(), st.booleans()), children, max_size=3),
        st.dictionaries(
            st.sampled_from(["$tensor", "$tuple", "$pairs", "a.b", "a", "b"]), children, max_size=3
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(state=states, config=st.dictionaries(st.text(max_size=5), st.recursive(plain, st.lists), max_size=3))
def test_any_nesting_comes_back_the_same(state, config, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a"
    save(path, state, config)
    loaded, loaded_config = load(path)
    assert same(loaded, state)
    assert same(loaded_config, config)


def test_an_optimizer_comes_back_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, betas=(0.8, 0.9))
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
    save(tmp_path / "a", {"optimizer": optimizer.state_dict()}, {})
    state = load(tmp_path / "a")[0]["optimizer"]
    assert same(state, optimizer.state_dict())
    torch.optim.Adam(model.parameters()).load_state_dict(state)


def test_tied_weights_are_stored_once_and_tied_again(tmp_path):
    module = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    module["b"].weight = module["a"].weight
    save(tmp_path / "a", module, {})
    assert len(safetensors.torch.load_file(tmp_path / "a")) == 1
    state, _ = load(tmp_path / "a")
    assert state["a.weight"].data_ptr() == state["b.weight"].data_ptr()
    module.load_state_dict(state)


def test_views_that_overlap_in_part_and_strided_tensors_keep_their_values(tmp_path):
    base = torch.arange(12.0)
    state = {"head": base[:8], "tail": base[4:], "even": base[::2], "turned": base.view(3, 4).T, "all": base}
    save(tmp_path / "a", state, {})
    assert same(load(tmp_path / "a")[0], state)


def test_names_that_collide_when_dotted_stay_apart(tmp_path):
    state = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    save(tmp_path / "a", state, {})
    assert same(load(tmp_path / "a")[0], state)


def test_what_is_loaded_does_not_change_with_what_was_saved(tmp_path):
    weight = torch.zeros(3)
    save(tmp_path / "a", {"w": weight}, {})
    weight.add_(1)
    assert load(tmp_path / "a")[0]["w"].tolist() == [0, 0, 0]


def test_every_truncation_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    for length in [0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1]:
        checkpoint.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            load(checkpoint)
    checkpoint.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError):
        load(checkpoint)


def test_every_single_changed_byte_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    before = load(checkpoint)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        checkpoint.write_bytes(changed)
        try:
            after = load(checkpoint)
        except CheckpointError:
            continue
        # Only a byte that carries nothing, such as the header's padding, may go unnoticed.
        assert same(list(after), list(before)), place


def test_a_forged_version_or_foreign_file_is_refused(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(checkpoints, "VERSION", 2)
    with pytest.raises(CheckpointError, match="is a checkpoint of version 1, this program reads version 2"):
        load(checkpoint)
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        load(tmp_path / "foreign")


def test_a_header_with_another_config_is_refused(checkpoint):
    raw = checkpoint.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"]["config"] = '{"dim":4}'
    text = json.dumps(header).encode()
    checkpoint.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    with pytest.raises(CheckpointError, match="its checksum does not match its content"):
        load(checkpoint)


def test_a_checkpoint_error_is_a_value_error_and_a_missing_file_is_not():
    assert issubclass(CheckpointError, ValueError)
    with pytest.raises(FileNotFoundError):
        load("nowhere.safetensors")


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(checkpoint, monkeypatch, fails):
    before = checkpoint.read_bytes()

    def broken(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, fails, broken)
    with pytest.raises(OSError, match="no space"):
        save(checkpoint, nn.Linear(3, 3), {})
    assert checkpoint.read_bytes() == before
    assert [file.name for file in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_half_written_temporary_file_is_never_read(checkpoint):
    (checkpoint.parent / f".{checkpoint.name}.1.dead.tmp").write_bytes(b"half")
    before = load(checkpoint)
    save(checkpoint, before[0], before[1])
    assert same(list(load(checkpoint)), list(before))


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(
        TypeError, match=r"optimizer\.0\.hook must be made of tensors, numbers, .* got function"
    ):
        save(tmp_path / "a", {"optimizer": [{"hook": same}]}, {})
    with pytest.raises(TypeError, match=r"config\.codebook must be made of numbers, .* got Tensor"):
        save(tmp_path / "a", {}, {"codebook": torch.zeros(2)})
    with pytest.raises(TypeError, match=r"w must be a dense, real tensor, got torch\.complex64"):
        save(tmp_path / "a", {"w": torch.zeros(2, dtype=torch.complex64)}, {})
    with pytest.raises(FileNotFoundError, match="path must lie in an existing folder"):
        save(tmp_path / "no" / "a", {}, {})
    assert not list(tmp_path.iterdir())
