"""Entropies of soft assignments: by hand, their extremes, Jensen, no NaN where a probability is zero."""

import math

import pytest
import torch

from impl.quantizers.entropies import entropy_of_mean, mean_entropy


def test_by_hand():
    torch.manual_seed(0)
    logits = torch.randn(30, 7, dtype=torch.float64)
    each = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(mean_entropy(logits), each.entropy().mean())
    mean = torch.distributions.Categorical(probs=each.probs.mean(dim=0))
    torch.testing.assert_close(entropy_of_mean(each.probs), mean.entropy())
    assert entropy_of_mean(each.probs) > mean_entropy(logits)


def test_sure_and_balanced_assignments():
    logits = torch.eye(6).repeat(3, 1) * 1000
    assert mean_entropy(logits).item() == pytest.approx(0, abs=1e-6)
    assert entropy_of_mean(logits.softmax(dim=1)).item() == pytest.approx(math.log(6), rel=1e-6)


def test_gradients_stay_finite_where_a_probability_is_zero():
    logits = (torch.eye(4)[:2] * 1e5).requires_grad_()
    total = mean_entropy(logits) - entropy_of_mean(logits.softmax(dim=1))
    assert torch.autograd.grad(total, logits)[0].isfinite().all()


def test_nothing_has_no_entropy():
    assert mean_entropy(torch.zeros(0, 4)) == 0 and entropy_of_mean(torch.zeros(0, 4)) == 0
