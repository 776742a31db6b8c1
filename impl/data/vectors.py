"""Vectors for nearest-neighbour search: the TEXMEX file formats and the SIFT sets released in them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from impl.data.files import locate

_TYPES = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}
#: Files of each SIFT set: base, queries, exact neighbours, and vectors to learn from where they are released.
_SIFT = {
    "sift1m": ("sift_base.fvecs", "sift_query.fvecs", "sift_groundtruth.ivecs", "sift_learn.fvecs"),
    "siftsmall": (
        "siftsmall_base.fvecs",
        "siftsmall_query.fvecs",
        "siftsmall_groundtruth.ivecs",
        "siftsmall_learn.fvecs",
    ),
    "sift5k": ("sift5k_base.bvecs", "siftsmall_query.fvecs", "sift5k_groundtruth.ivecs", None),
}


class SearchSet(NamedTuple):
    """Vectors to search, with what is to be found.

    Attributes:
        base: (N, D) float32, the items.
        queries: (Q, D) float32.
        neighbours: (Q, k) int64, rows of the base nearest to each query, nearest first.
        learn: (L, D) float32 to fit a quantizer on; the base itself where none are released apart.
    """

    base: Tensor
    queries: Tensor
    neighbours: Tensor
    learn: Tensor


def read_vectors(path: str | os.PathLike, limit: int | None = None) -> Tensor:
    """Read a file of vectors: .fvecs (float32), .ivecs (int32) or .bvecs (bytes).

    Each row is its width as a little-endian int32, then its numbers. Only the rows asked for are read from the disk.

    Args:
        path: the file; its suffix says the type.
        limit: rows to read at most; None for all.

    Returns:
        (N, D) float32, int64 for .ivecs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown suffix, a negative limit, or a damaged file.
    """
    path = Path(path)
    if path.suffix not in _TYPES:
        raise ValueError(f"path must end in {', '.join(_TYPES)}, got {path.name!r}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be at least 0 or None, got {limit}")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path} is empty: the width of its rows is not known")
    raw = np.memmap(path, np.uint8, mode="r")
    width = int(raw[:4].view("<i4")[0]) if size >= 4 else 0
    kind = np.dtype(_TYPES[path.suffix])
    row = 4 + width * kind.itemsize
    if width < 1 or size % row:
        raise ValueError(f"{path} is damaged: {size} bytes are no whole number of rows {width} wide")
    rows = np.array(raw.reshape(-1, row)[:limit])
    if (rows[:, :4].copy().view("<i4") != width).any():
        raise ValueError(f"{path} is damaged: not all rows say that they are {width} wide")
    values = torch.from_numpy(np.ascontiguousarray(rows[:, 4:]).view(kind).astype(kind.newbyteorder("=")))
    return values.long() if path.suffix == ".ivecs" else values.float()


def sift(name: str = "sift1m", root: str | os.PathLike | None = None) -> SearchSet:
    """Load SIFT descriptors with exact neighbours from their released files.

    Looks in `sift/`, `siftsmall/` and `sift1m/` of the data folder. "sift1m" and "siftsmall" are the TEXMEX sets of a
    million and 10,000 items; "sift5k" is a piece of 5,000 items with the queries of the second.

    Args:
        name: "sift1m", "siftsmall" or "sift5k".
        root: the data folder, or the data set's own; by default the folder that `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: the files are not there.
        ValueError: an unknown name, a damaged file, or files that do not fit together.
    """
    if name not in _SIFT:
        raise ValueError(f"name must be one of {', '.join(_SIFT)}, got {name!r}")
    folders = ("sift", "siftsmall", "sift1m")
    base, queries, neighbours, learn = (
        None if file is None else read_vectors(locate([file], folders, root)) for file in _SIFT[name]
    )
    if len(queries) != len(neighbours) or queries.shape[1] != base.shape[1] or neighbours.max() >= len(base):
        shapes = f"{tuple(base.shape)}, {tuple(queries.shape)} and {tuple(neighbours.shape)}"
        raise ValueError(f"base, queries and neighbours of {name} do not fit together: {shapes}")
    return SearchSet(base, queries, neighbours, base if learn is None else learn)
