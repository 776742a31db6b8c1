"""Score normalisation: torch's batch normalisation, averages, empty batches."""

import torch
from torch import nn

from impl.quantizers.score_normalization import ScoreNormalization


def scores(rows=50, seed=0):
    return 3 * torch.randn(rows, 2, 4, generator=torch.Generator().manual_seed(seed)) + 1


def test_it_is_batch_normalisation_of_each_column_with_its_gradient():
    ours, theirs = ScoreNormalization(2, 4), nn.BatchNorm1d(8, affine=False)
    given, weights = scores().requires_grad_(), scores(seed=1)
    for _ in range(3):
        found, expected = ours(given), theirs(given.flatten(1)).view_as(given)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        gradients = [torch.autograd.grad((each * weights).sum(), given)[0] for each in (found, expected)]
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.mean.flatten(), theirs.running_mean)
    # torch keeps the unbiased variance, 50/49 of what it divides by.
    biased = 0.9**3 + (theirs.running_var - 0.9**3) * 49 / 50
    torch.testing.assert_close(ours.variance.flatten(), biased)


def test_evaluation_uses_the_averages():
    ours = ScoreNormalization(2, 4)
    ours(scores())
    expected = (scores(5, seed=1) - ours.mean) / (ours.variance + 1e-5).sqrt()
    torch.testing.assert_close(ours.eval()(scores(5, seed=1)), expected)


def test_no_scores_change_nothing():
    ours = ScoreNormalization(2, 4)
    assert ours(scores(0)).shape == (0, 2, 4)
    assert (ours.mean == 0).all() and (ours.variance == 1).all()
