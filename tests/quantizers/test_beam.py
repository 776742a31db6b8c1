"""Beam search: greedy and brute force at its ends, offsets, blocks, faiss."""

import itertools

import pytest
import torch

from impl.quantizers import beam
from impl.quantizers.additive import residual_codebooks, sum_codewords
from impl.quantizers.beam import beam_codes, greedy_codes, largest


def data(rows=1000, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def tables(count=3, size=4, dim=6, seed=1):
    return torch.randn(count, size, dim, generator=torch.Generator().manual_seed(seed))


def errors(vectors, codebooks, codes):
    return (sum_codewords(codebooks, codes) - vectors).square().sum(dim=1)


def test_width_one_is_greedy():
    assert torch.equal(beam_codes(data(), tables(), 1), greedy_codes(data(), tables()))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_full_width_is_brute_force(count):
    vectors, codebooks = data(60), tables(count)
    every = torch.tensor(list(itertools.product(range(4), repeat=count)))
    sums = sum_codewords(codebooks, every)
    best = (vectors[:, None] - sums[None]).square().sum(dim=-1).argmin(dim=1)
    assert torch.equal(beam_codes(vectors, codebooks, 4 ** (count - 1)), every[best])


def test_a_wider_beam_is_not_worse_on_average():
    codebooks = residual_codebooks(data(2000), 8, 5, iterations=10, seed=0)
    found = [
        errors(data(), codebooks, beam_codes(data(), codebooks, width)).mean() for width in (1, 2, 4, 16)
    ]
    assert found == sorted(found, reverse=True) and found[-1] < 0.97 * found[0]


def test_codes_do_not_depend_on_the_blocks(monkeypatch):
    expected = beam_codes(data(), tables(), 4)
    monkeypatch.setattr(beam, "BLOCK_SCORES", 100)
    assert torch.equal(beam_codes(data(), tables(), 4), expected)


def test_a_common_offset_of_data_and_codewords_changes_nothing():
    """An offset of 1,000 on the data and on the first codebook: the expanded square would lose the distances."""
    codebooks, vectors = tables().clone(), data(200)
    expected = beam_codes(vectors, codebooks, 4)
    codebooks[0] += 1000
    assert (beam_codes(vectors + 1000, codebooks, 4) == expected).float().mean() > 0.99


def test_no_vectors_and_bad_widths():
    assert beam_codes(data(0), tables(), 3).shape == (0, 3)
    with pytest.raises(ValueError, match="width must be at least 1"):
        beam_codes(data(), tables(), 0)


@pytest.mark.parametrize("width", [1, 4, 16])
def test_codes_agree_with_faiss(width):
    faiss = pytest.importorskip("faiss")
    theirs = faiss.ResidualQuantizer(8, 4, 4)
    theirs.max_beam_size = width
    vectors = data(2000, 8)
    theirs.train(vectors.numpy())
    codebooks = torch.from_numpy(faiss.vector_to_array(theirs.codebooks).reshape(4, 16, 8))
    packed = torch.from_numpy(
        theirs.compute_codes(vectors.numpy())
    ).long()  # two 4-bit codes a byte, low first
    unpacked = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1)
    ours = beam_codes(vectors, codebooks, width)
    assert (ours == unpacked).all(dim=1).float().mean() > 0.995  # ties and roundings
    assert errors(vectors, codebooks, ours).mean() <= errors(vectors, codebooks, unpacked).mean() * 1.0001


@pytest.mark.parametrize(
    ("columns", "count"), [(5, 3), (64, 1), (64, 2), (320, 5), (320, 6), (333, 5), (1024, 16)]
)
def test_the_largest_are_those_of_a_sort(columns, count):
    draw = torch.Generator().manual_seed(0)
    for scores in (
        torch.randn(50, columns, generator=draw),
        torch.randint(0, 3, (50, columns), generator=draw).float(),
        torch.arange(columns).float().expand(2, -1).contiguous(),
    ):
        found = largest(scores, count)
        expected = scores.sort(dim=1, descending=True).values[:, :count]
        assert torch.equal(scores.gather(1, found), expected)
        assert all(len(set(row)) == count for row in found.tolist())
