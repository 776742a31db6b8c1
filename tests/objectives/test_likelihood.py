"""The Gaussian likelihood at its optimal variance: against the density itself, its gradient, a perfect image."""

import math

import torch

from impl.objectives.likelihood import optimal_variance_loss


def test_is_the_smallest_negative_log_likelihood_over_variances():
    torch.manual_seed(0)
    image, decoded = torch.randn(2, 3, 5, 5, dtype=torch.float64).unbind()
    variances = torch.logspace(-2, 2, 20_001, dtype=torch.float64)
    costs = torch.stack(
        [-torch.distributions.Normal(decoded, v.sqrt()).log_prob(image).mean() for v in variances[::100]]
    )
    best = variances[::100][costs.argmin()]
    error = (image - decoded).square().mean()
    assert abs(best / error - 1) < 0.05
    smallest = -torch.distributions.Normal(decoded, error.sqrt()).log_prob(image).mean()
    constant = math.log(2 * math.pi * math.e) / 2
    torch.testing.assert_close(optimal_variance_loss(decoded, image) + constant, smallest)
    assert smallest <= costs.min()


def test_gradient_is_that_of_the_squared_error_over_twice_its_value():
    torch.manual_seed(1)
    image = torch.randn(4, 6, dtype=torch.float64)
    decoded = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    error = (image - decoded).square().mean()
    (expected,) = torch.autograd.grad(error, decoded)
    (found,) = torch.autograd.grad(optimal_variance_loss(decoded, image), decoded)
    torch.testing.assert_close(found, expected / (2 * error.detach()))


def test_a_perfect_reconstruction_stays_finite():
    image = torch.ones(3, 3, requires_grad=True)
    loss = optimal_variance_loss(image, image.detach())
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, image)[0]).all()
