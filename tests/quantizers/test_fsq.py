"""FSQ: a bijection onto its grid, all levels reached, the squashing by hand, vector-quantize-pytorch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.benches import digits_autoencoder
from impl.quantizers.fsq import FSQ
from impl.quantizers.vq_vae import VectorQuantizer


@pytest.mark.parametrize("levels", [[2], [3], [4], [2, 3], [5, 4, 3], [8, 5, 5, 5], [2, 2, 2, 2]])
def test_codes_are_a_bijection_onto_the_grid(levels):
    fsq = FSQ(levels)
    codes = torch.arange(math.prod(levels))[:, None]
    grid = fsq.decode(codes)
    assert len(grid.unique(dim=0)) == math.prod(levels)
    half = torch.tensor(levels) // 2
    assert torch.equal(fsq._number((grid * half).round().long()), codes)
    for channel, level in enumerate(levels):
        expected = (torch.arange(level) - level // 2) / (level // 2)
        assert torch.equal(grid[:, channel].unique(), expected)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6, 7, 8])
def test_every_level_is_reached_in_order_and_zero_is_level_zero(levels):
    fsq = FSQ([levels])
    sweep = fsq(torch.linspace(-20, 20, 4001)[:, None]).latents[:, 0]
    assert len(sweep.unique()) == levels and bool((sweep.diff() >= 0).all())
    assert fsq(torch.zeros(1, 1)).latents.item() == 0


@pytest.mark.parametrize("levels", [3, 5, 7])
def test_odd_levels_are_symmetric(levels):
    fsq, latents = FSQ([levels]), torch.randn(100, 1)
    assert torch.equal(fsq(latents).latents, -fsq(-latents).latents)


def test_three_levels_round_tanh():
    latents = torch.randn(1000, 1)
    expected = (torch.tanh(latents) * (1 - FSQ.margin)).round()
    assert torch.equal(FSQ([3])(latents).latents, expected)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8])
def test_the_gradient_is_the_slope_of_the_squashing(levels):
    """d/dz of (tanh(z + s) h - o) / floor(L / 2), by hand: the rounding passes it on."""
    latents = torch.randn(50, 1, dtype=torch.float64, requires_grad=True)
    half, offset = (levels - 1) * (1 - FSQ.margin) / 2, 0.5 if levels % 2 == 0 else 0.0
    shift = math.atanh(offset / half) if levels > 2 else 0.0
    FSQ([levels])(latents).latents.sum().backward()
    expected = (1 - torch.tanh(latents + shift) ** 2) * half / (levels // 2)
    torch.testing.assert_close(latents.grad, expected.detach())


def test_two_levels_share_a_normal_input_evenly():
    codes = FSQ([2]).encode(torch.randn(20000, 1, generator=torch.Generator().manual_seed(0)))
    assert abs(codes.float().mean() - 0.5) < 0.02


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    levels=st.lists(st.integers(2, 16), min_size=1, max_size=15),
    seed=st.integers(0, 100),
)
def test_large_codes_are_exact(levels, seed):
    """Mixed-radix numbers far past 2^24, where float32 would merge neighbours, and past 2^31."""
    fsq = FSQ(levels)
    latents = torch.randn(20, len(levels), generator=torch.Generator().manual_seed(seed)) * 2
    codes = fsq.encode(latents)
    digits = fsq.bound(latents).round().long() + torch.tensor(levels) // 2
    for row, code in zip(digits.tolist(), codes[:, 0].tolist(), strict=True):
        assert code == sum(digit * math.prod(levels[:place]) for place, digit in enumerate(row))


def test_agrees_with_vector_quantize_pytorch():
    """Away from the boundaries of rounding: its margin and shift differ in the third decimal."""
    vqp = pytest.importorskip("vector_quantize_pytorch")
    ours, theirs = FSQ([7, 5, 5, 4]), vqp.FSQ([7, 5, 5, 4])
    latents = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0))
    bounded = ours.bound(latents)
    clear = ((bounded - bounded.floor() - 0.5).abs() > 0.02).all(dim=1)
    quantized, codes = theirs(latents[None])
    assert clear.float().mean() > 0.8
    assert torch.equal(codes[0][clear].long(), ours.encode(latents)[clear, 0])
    torch.testing.assert_close(quantized[0][clear], ours(latents).latents[clear])


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "levels must name at least one channel"),
        ([5, 1], "levels must be at least 2, got 1"),
        ([16] * 16, r"levels must have a product below 2\^63"),
    ],
)
def test_illegal_levels_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        FSQ(levels)


@pytest.mark.claim
def test_uses_its_codes_without_help_and_errs_less_than_vq_at_equal_bits():
    """6 bits a token: all but 5 % of the grid in use with no loss of its own, at less error than VQ's
    codebook loss.
    """
    for seed in range(3):
        grid = digits_autoencoder(lambda: FSQ([4, 4, 4]), seed=seed)
        learned = digits_autoencoder(lambda: VectorQuantizer(8, 64), seed=seed)
        assert grid.bits == learned.bits == 24
        assert grid.usage >= 0.95 > learned.usage
        assert grid.error < 0.95 * learned.error
