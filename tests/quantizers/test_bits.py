"""Entropies of soft bits against the sum over all 2^D codes, and codes as integers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.quantizers.bits import (
    batch_entropy,
    bits_to_codes,
    codes_to_signs,
    join_codes,
    sample_entropy,
    split_codes,
)


def joint(logits):
    """Probabilities (N, 2^D) of every code, one product of bits at a time."""
    dim = logits.shape[1]
    bits = (torch.arange(2**dim)[:, None] >> torch.arange(dim)) & 1
    probability = torch.sigmoid(logits)[:, None, :]
    return torch.where(bits.bool(), probability, 1 - probability).prod(dim=-1)


def entropy(probabilities):
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=st.integers(1, 20), dim=st.integers(1, 9), scale=st.floats(0.01, 20), seed=st.integers(0, 99))
def test_factorised_entropies_equal_the_sum_over_all_codes(rows, dim, scale, seed):
    logits = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)).double() * scale
    table = joint(logits)
    torch.testing.assert_close(sample_entropy(logits), entropy(table).mean())
    torch.testing.assert_close(batch_entropy(logits, group_size=dim), entropy(table.mean(dim=0)))


def test_groups_bound_the_joint_entropy_from_above():
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).double() * 3
    logits[:, 4:] = logits[:, :4]  # dependent groups: the bound is not tight
    exact = batch_entropy(logits, 8)
    grouped = [batch_entropy(logits, size) for size in (4, 2, 1)]
    assert exact < grouped[0] - 0.1 and grouped[0] <= grouped[1] <= grouped[2] <= 8 * math.log(2)


def test_the_mean_code_has_at_least_the_mean_entropy():
    logits = torch.randn(64, 8).double()
    assert batch_entropy(logits, 8) >= sample_entropy(logits)


def test_groups_of_a_size_that_does_not_divide():
    logits = torch.randn(16, 7).double()
    expected = sum(entropy(joint(part).mean(dim=0)) for part in logits.split(3, dim=1))
    torch.testing.assert_close(batch_entropy(logits, 3), expected)


def test_gradients_are_those_of_the_sum_over_all_codes():
    logits = torch.randn(10, 5, dtype=torch.float64, requires_grad=True)
    for ours, expected in [
        (sample_entropy(logits), entropy(joint(logits)).mean()),
        (batch_entropy(logits, 5), entropy(joint(logits).mean(dim=0))),
    ]:
        (found,), (wanted,) = (torch.autograd.grad(value, logits) for value in (ours, expected))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dim", [1, 8, 30, 62])
def test_codes_and_signs_invert_each_other(dim):
    signs = torch.randn(50, dim, generator=torch.Generator().manual_seed(0)).sign()
    codes = bits_to_codes(signs > 0)
    assert torch.equal(codes_to_signs(codes, dim), signs)
    assert codes[0, 0].item() == sum(2**place for place in range(dim) if signs[0, place] > 0)


@pytest.mark.parametrize("widths", [(4, 4), (3, 5), (1, 2, 5), (8,)])
def test_split_codes_are_the_groups_of_bits_and_join_again(widths):
    codes = torch.arange(2**8)[:, None]
    parts, start = split_codes(codes, widths), 0
    for column, width in zip(parts.unbind(-1), widths, strict=True):
        expected = [int(format(code, "08b")[::-1][start : start + width][::-1], 2) for code in range(2**8)]
        assert column.tolist() == expected
        start += width
    assert torch.equal(join_codes(parts, widths), codes)
