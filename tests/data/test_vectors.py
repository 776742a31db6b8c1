"""Readers of the TEXMEX formats, and SIFT where its files are on disk."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from impl.data.vectors import read_vectors, sift
from impl.search import exact_neighbours


@pytest.fixture
def released() -> Path:
    root = Path(os.environ.get("CODEBOOK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "sift" / "sift5k_base.bvecs").is_file():
        pytest.skip("no folder with released SIFT vectors")
    return root


def write(path: Path, rows: np.ndarray) -> Path:
    """Write rows as the formats say: each with its width as a little-endian int32 before it."""
    width = np.int32(rows.shape[1]).astype("<i4").tobytes()
    path.write_bytes(b"".join(width + row.tobytes() for row in rows))
    return path


@pytest.mark.parametrize("suffix, kind", [("fvecs", "<f4"), ("ivecs", "<i4"), ("bvecs", "u1")])
def test_round_trip_of_each_format(tmp_path, suffix, kind):
    rows = np.random.default_rng(0).integers(0, 256, (7, 5)).astype(kind)
    path = write(tmp_path / f"some.{suffix}", rows)
    read = read_vectors(path)
    assert read.dtype == (torch.int64 if suffix == "ivecs" else torch.float32)
    assert np.array_equal(read.numpy(), rows)
    assert np.array_equal(read_vectors(path, limit=3).numpy(), rows[:3])
    assert read_vectors(path, limit=0).shape == (0, 5)
    assert len(read_vectors(path, limit=99)) == 7


def test_damaged_files_are_refused(tmp_path):
    whole = write(tmp_path / "a.fvecs", np.zeros((3, 4), "<f4")).read_bytes()
    changed = bytearray(whole)
    changed[20] = 5  # the width of the second row
    for content, message in [
        (whole[:-1], "no whole number of rows 4 wide"),
        (b"", "is empty"),
        (b"\1\0", "no whole number"),
        (b"\0\0\0\0", "no whole number"),
        (b"\xff\xff\xff\xff" + whole[4:], "no whole number"),
        (bytes(changed), "not all rows"),
    ]:
        (tmp_path / "a.fvecs").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_vectors(tmp_path / "a.fvecs")


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .fvecs, .ivecs, .bvecs, got 'a.npy'"):
        read_vectors(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        read_vectors(tmp_path / "a.fvecs")
    path = write(tmp_path / "a.fvecs", np.zeros((3, 4), "<f4"))
    with pytest.raises(ValueError, match="limit must be at least 0 or None, got -1"):
        read_vectors(path, limit=-1)
    with pytest.raises(ValueError, match="name must be one of sift1m, siftsmall, sift5k, got 'gist'"):
        sift("gist", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"sift_base.fvecs"):
        sift("sift1m", tmp_path)


def test_a_set_is_read_with_its_learning_vectors_and_must_fit_together(tmp_path):
    draws = np.random.default_rng(0)
    for part, rows in (("base", 20), ("query", 4), ("learn", 9)):
        write(tmp_path / f"sift_{part}.fvecs", draws.random((rows, 3)).astype("<f4"))
    write(tmp_path / "sift_groundtruth.ivecs", np.full((4, 2), 19, "<i4"))
    found = sift("sift1m", tmp_path)
    assert [len(part) for part in found] == [20, 4, 4, 9]
    write(tmp_path / "sift_groundtruth.ivecs", np.full((4, 2), 20, "<i4"))
    with pytest.raises(ValueError, match="do not fit together"):
        sift("sift1m", tmp_path)


def test_released_neighbours_are_those_of_brute_force(released):
    found = sift("sift5k", released)
    assert found.base.shape == (5000, 128) and found.queries.shape == (100, 128)
    assert torch.equal(exact_neighbours(found.queries, found.base, 100), found.neighbours)
