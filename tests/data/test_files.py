import gzip
import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from impl.data.files import data_root, locate, read_idx


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_an_argument_outranks_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEBOOK_DATA", str(tmp_path))
    assert data_root() == tmp_path
    (tmp_path / "other").mkdir()
    assert data_root(tmp_path / "other") == tmp_path / "other"
    monkeypatch.setenv("CODEBOOK_DATA", "")
    with pytest.raises(FileNotFoundError, match="no data folder is known"):
        data_root()


def test_names_are_tried_in_order_over_all_folders(tmp_path):
    for place in ("a/second", "b/first", "first"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    assert locate(["first", "second"], ["a", "b"], tmp_path) == tmp_path / "b" / "first"
    assert locate(["second"], ["a", "b"], tmp_path) == tmp_path / "a" / "second"
    assert locate(["first"], ["a"], tmp_path) == tmp_path / "first"
    with pytest.raises(
        FileNotFoundError, match=r"none of the files third is in .*a, .*b, .*: put the released"
    ):
        locate(["third"], ["a", "b"], tmp_path)


def test_idx_round_trip_of_every_shape(tmp_path):
    rng = np.random.default_rng(0)
    for shape in [(0,), (5,), (2, 3), (4, 1, 7)]:
        array = rng.integers(0, 256, shape, dtype=np.uint8)
        (tmp_path / "a").write_bytes(idx(array))
        (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
        assert np.array_equal(read_idx(tmp_path / "a"), array)
        assert np.array_equal(read_idx(tmp_path / "a.gz"), array)
    numbers = rng.normal(size=6).astype(">f4")
    (tmp_path / "f").write_bytes(idx(numbers, 0x0D))
    assert np.array_equal(read_idx(tmp_path / "f"), numbers)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_idx_file_that_is_cut_or_has_a_changed_header_is_refused(data, tmp_path_factory):
    whole = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    folder = tmp_path_factory.mktemp("idx")
    cut = data.draw(st.integers(0, len(whole) - 1))
    (folder / "cut").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match="idx file"):
        read_idx(folder / "cut")
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, 15))] ^= data.draw(st.integers(1, 255))
    assume(changed[2] != 0x09)  # signed bytes: the one change of the header that leaves a legal file
    (folder / "changed").write_bytes(changed)
    with pytest.raises(ValueError, match="idx file"):
        read_idx(folder / "changed")
