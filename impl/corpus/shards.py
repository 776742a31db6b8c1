"""Shards of codes on disk, in two forms that other programs read.

Parquet, one row an input (`codes/shard-00000.parquet`): `source` (the input's name), `length` (samples or pixels it
had, one number an axis), `shape` (of its codes), `codes` (flattened, row by row), `error` (why there are none, else
null).

Token arrays of Megatron-LM (`codes/shard-00000.bin` and `.idx`), one document an input: the tokens as little-endian
integers one after the other, and an index of their lengths and places, to be memory-mapped. A code of column m becomes
the token  code + K_0 + ... + K_{m-1},  frame by frame, so that codebooks do not share tokens.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MAGIC = b"MMIDIDX\x00\x00"
#: Megatron's numbers for the types of tokens.
TYPES = {np.dtype("<u2"): 8, np.dtype("<i4"): 4}

SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "length": pa.list_(pa.int64()),
        "shape": pa.list_(pa.int64()),
        "codes": pa.list_(pa.int32()),
        "error": pa.string(),
    }
)


class Row(NamedTuple):
    """One input: its codes, or the reason why there are none.

    Attributes:
        source: the input's name.
        length: samples on each axis of the input.
        codes: (..., M) integers, None after an error.
        error: a sentence, None when all went well.
    """

    source: str
    length: tuple[int, ...]
    codes: np.ndarray | None
    error: str | None = None


def write_shard(path: Path, rows: Sequence[Row], codebook_sizes: Sequence[int]) -> None:
    """Write `path`.bin, `path`.idx and last `path`.parquet; the shard is there when the last one is.

    A kill leaves nothing under these names that is not whole.
    """
    documents = [tokens(row.codes, codebook_sizes) for row in rows if row.codes is not None]
    kind = np.dtype("<u2") if sum(codebook_sizes) <= 2**16 else np.dtype("<i4")
    _write_token_arrays(path, [document.astype(kind) for document in documents], kind)
    columns = {
        "source": [row.source for row in rows],
        "length": [list(row.length) for row in rows],
        "shape": [None if row.codes is None else list(row.codes.shape) for row in rows],
        "codes": [None if row.codes is None else row.codes.reshape(-1).astype(np.int32) for row in rows],
        "error": [row.error for row in rows],
    }
    temporary = _temporary(path.with_suffix(".parquet"))
    pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    _publish(temporary, path.with_suffix(".parquet"))


def read_shard(path: Path) -> list[Row]:
    """Read the rows of a `.parquet` shard.

    Raises:
        ValueError: the file is damaged, or no shard.
    """
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no whole shard of codes: {error}") from error
    return [
        Row(
            row["source"],
            tuple(row["length"]),
            None if row["codes"] is None else np.array(row["codes"], np.int64).reshape(row["shape"]),
            row["error"],
        )
        for row in table.to_pylist()
    ]


def shards(folder: Path) -> Iterator[Path]:
    """Return the whole shards of a folder, in order."""
    return iter(sorted(folder.glob("shard-*.parquet")))


def tokens(codes: np.ndarray, codebook_sizes: Sequence[int]) -> np.ndarray:
    """Flatten codes (..., M) to tokens, frame by frame, each codebook in a range of its own."""
    offsets = np.cumsum([0, *codebook_sizes[:-1]])[: codes.shape[-1]]
    return (codes + offsets).reshape(-1)


def read_token_arrays(path: Path) -> list[np.ndarray]:
    """Memory-map `path`.bin and return its documents, as `path`.idx delimits them.

    Raises:
        ValueError: the index is not Megatron's, or does not fit the tokens.
    """
    raw = path.with_suffix(".idx").read_bytes()
    if raw[:9] != MAGIC or len(raw) < 34:
        raise ValueError(f"{path.with_suffix('.idx')} is no index of token arrays")
    version, code, count, documents = struct.unpack("<QBQQ", raw[9:34])
    kind = next((kind for kind, number in TYPES.items() if number == code), None)
    if version != 1 or kind is None or len(raw) != 34 + 12 * count + 8 * documents:
        raise ValueError(
            f"{path.with_suffix('.idx')} is damaged, or of a version or type that is not read here"
        )
    lengths = np.frombuffer(raw, "<i4", count, 34)
    starts = np.frombuffer(raw, "<i8", count, 34 + 4 * count)
    size = os.path.getsize(path.with_suffix(".bin"))
    if size != int(lengths.astype(np.int64).sum()) * kind.itemsize:
        raise ValueError(f"{path.with_suffix('.bin')} holds {size} bytes, another number than its index says")
    content = np.memmap(path.with_suffix(".bin"), kind, mode="r") if size else np.empty(0, kind)
    firsts = starts // kind.itemsize
    return [content[first : first + length] for first, length in zip(firsts, lengths, strict=True)]


def _write_token_arrays(path: Path, documents: list[np.ndarray], kind: np.dtype) -> None:
    lengths = np.array([len(document) for document in documents], "<i4")
    starts = np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.int64)]).astype("<i8")[: len(lengths)]
    header = struct.pack("<QBQQ", 1, TYPES[kind], len(documents), len(documents) + 1)
    order = np.arange(len(documents) + 1, dtype="<i8")
    index = MAGIC + header + lengths.tobytes() + (starts * kind.itemsize).tobytes() + order.tobytes()
    content = b"".join(document.tobytes() for document in documents)
    for suffix, part in ((".bin", content), (".idx", index)):
        temporary = _temporary(path.with_suffix(suffix))
        temporary.write_bytes(part)
        _publish(temporary, path.with_suffix(suffix))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _publish(temporary: Path, path: Path) -> None:
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(temporary, path)
