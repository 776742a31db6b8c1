"""Shards: what is written is read, in both forms, and the layout is Megatron's."""

import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from impl.corpus.shards import Row, read_shard, read_token_arrays, tokens, write_shard

ROWS = [
    Row("a.wav", (100,), np.array([[0, 3], [2, 1]])),
    Row("b.wav", (), None, "cut"),
    Row("c.png", (8, 8), np.arange(8).reshape(2, 2, 2) % 4),
]


def test_rows_come_back(tmp_path):
    write_shard(tmp_path / "shard-00000", ROWS, (4, 4))
    for written, read in zip(ROWS, read_shard(tmp_path / "shard-00000.parquet"), strict=True):
        assert (read.source, read.length, read.error) == (written.source, written.length, written.error)
        assert (read.codes is None) == (written.codes is None)
        if read.codes is not None:
            assert np.array_equal(read.codes, written.codes)
    assert pq.read_table(tmp_path / "shard-00000.parquet").column_names == [
        "source",
        "length",
        "shape",
        "codes",
        "error",
    ]


def test_token_arrays_hold_every_input_with_codes(tmp_path):
    write_shard(tmp_path / "shard-00000", ROWS, (4, 4))
    documents = read_token_arrays(tmp_path / "shard-00000")
    assert [document.tolist() for document in documents] == [[0, 7, 2, 5], [0, 5, 2, 7, 0, 5, 2, 7]]
    assert isinstance(documents[0], np.memmap)


def test_the_index_is_laid_out_as_megatron_reads_it(tmp_path):
    """Magic, version, type, counts, lengths, byte offsets, first sequence of each document: written again by hand."""
    write_shard(tmp_path / "s", ROWS[:1] * 2, (40_000, 40_000))
    raw = (tmp_path / "s.idx").read_bytes()
    assert raw == b"MMIDIDX\x00\x00" + struct.pack("<QBQQ2i2q3q", 1, 4, 2, 3, 4, 4, 0, 16, 0, 1, 2)
    assert (tmp_path / "s.bin").read_bytes() == struct.pack("<8i", *[0, 40_003, 2, 40_001] * 2)


def test_codebooks_do_not_share_tokens():
    codes = np.array([[0, 0, 0], [3, 7, 1]])
    assert tokens(codes, (4, 8, 2)).tolist() == [0, 4, 12, 3, 11, 13]


def test_an_empty_shard_and_damage(tmp_path):
    write_shard(tmp_path / "s", [], (4,))
    assert read_shard(tmp_path / "s.parquet") == []
    assert read_token_arrays(tmp_path / "s") == []
    (tmp_path / "s.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="no whole shard"):
        read_shard(tmp_path / "s.parquet")
    (tmp_path / "s.bin").write_bytes(b"xx")
    with pytest.raises(ValueError, match="another number"):
        read_token_arrays(tmp_path / "s")
    (tmp_path / "s.idx").write_bytes(b"MMIDIDX")
    with pytest.raises(ValueError, match="no index"):
        read_token_arrays(tmp_path / "s")
