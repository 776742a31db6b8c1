"""Nearest codeword: exact up to rounding, lowest index on ties, independent of blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.quantizers import lookup
from impl.quantizers.lookup import nearest_codes


def brute_force(vectors, codewords):
    differences = vectors.double()[:, None, :] - codewords.double()[None, :, :]
    return differences.square().sum(dim=-1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(0, 70),
    codes=st.integers(1, 90),
    dim=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 10),
)
def test_equals_float64_brute_force_up_to_rounding(rows, codes, dim, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, dim, generator=generator).to(dtype)
    codewords = torch.randn(codes, dim, generator=generator)
    if dtype.itemsize == 2:  # codewords are cast to the vectors' type, and exact in it
        codewords = codewords.to(dtype)
    found, distances = nearest_codes(vectors, codewords), brute_force(vectors, codewords)
    assert found.dtype == torch.int64 and found.shape == (rows,)
    if rows:
        chosen = distances.gather(1, found[:, None]).squeeze(1)
        torch.testing.assert_close(chosen, distances.min(dim=1).values, rtol=1e-5, atol=1e-5)


def test_blocks_do_not_change_codes(monkeypatch):
    vectors, codewords = torch.randn(257, 5), torch.randn(101, 5)
    whole = nearest_codes(vectors, codewords)
    for rows, codes in [(1, 1), (7, 10), (64, 100)]:
        monkeypatch.setattr(lookup, "BLOCK_CODES", codes)
        monkeypatch.setattr(lookup, "BLOCK_SCORES", rows * codes)
        assert torch.equal(nearest_codes(vectors, codewords), whole)


@pytest.mark.parametrize("block", [1, 2, 3, 1024])
def test_ties_go_to_the_lowest_index(monkeypatch, block):
    monkeypatch.setattr(lookup, "BLOCK_CODES", block)
    codewords = torch.tensor([[5.0], [1.0], [-1.0], [1.0], [-1.0]])
    assert nearest_codes(torch.tensor([[0.0], [1.0], [-1.0]]), codewords).tolist() == [1, 1, 2]


def test_far_from_the_origin_nothing_is_lost():
    """At an offset of 1000 the expanded square, not centred, gets almost half of the codes wrong."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4096, 16, generator=generator)
    codewords = torch.randn(256, 16, generator=generator)
    expected = nearest_codes(vectors + 1000, (codewords + 1000))
    truth = brute_force(vectors + 1000, codewords + 1000).argmin(dim=1)
    assert (expected == truth).float().mean() > 0.999


def test_memory_is_that_of_a_block(monkeypatch):
    """No tensor that the search makes is larger than a block of scores, however many vectors and codewords
    there are.
    """
    sizes = []
    original = lookup._block_maximum

    def recorded(memory, block, codewords, half_norms):
        assert memory.numel() <= lookup.BLOCK_SCORES
        sizes.append(len(block) * len(codewords))
        return original(memory, block, codewords, half_norms)

    monkeypatch.setattr(lookup, "_block_maximum", recorded)
    nearest_codes(torch.randn(3000, 2), torch.randn(5000, 2))
    assert max(sizes) <= lookup.BLOCK_SCORES and sum(sizes) == 3000 * 5000


def test_agrees_with_faiss():
    faiss = pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2000, 32, generator=generator)
    codewords = torch.randn(500, 32, generator=generator)
    index = faiss.IndexFlatL2(32)
    index.add(codewords.numpy())
    assert (nearest_codes(vectors, codewords).numpy() == index.search(vectors.numpy(), 1)[1][:, 0]).all()
