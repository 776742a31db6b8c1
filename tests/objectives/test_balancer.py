"""The balancer: weights are shares of the gradient, whatever the losses' scale."""

import pytest
import torch

from impl.objectives.balancer import Balancer


def gradients(scale=1.0, steps=1):
    torch.manual_seed(0)
    balancer = Balancer({"a": 1.0, "b": 3.0}, decay=0.9)
    target = torch.randn(4, 10)
    for _ in range(steps):
        x = torch.linspace(-1, 1, 40).reshape(4, 10).requires_grad_()
        losses = {"a": scale * (x - target).square().mean(), "b": (x - target).abs().sum()}
        value = balancer(losses, x)
        value.backward()
    return value, x.grad, losses, target, x.detach()


def test_each_loss_gives_its_share_of_the_gradient():
    value, gradient, losses, target, x = gradients()
    a, b = (x - target), (x - target).sign()
    expected = sum(share * part / part.norm(dim=1).mean() for share, part in ((0.25, a), (0.75, b)))
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(value, losses["a"] + 3 * losses["b"])


def test_the_scale_of_a_loss_does_not_matter():
    torch.testing.assert_close(gradients(1.0, 3)[1], gradients(100.0, 3)[1])


def test_bad_weights_and_names_are_refused():
    for weights in ({}, {"a": 0.0}, {"a": -1.0}):
        with pytest.raises(ValueError, match="positive"):
            Balancer(weights)
    x = torch.ones(2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="losses must be a"):
        Balancer({"a": 1.0})({"b": x.sum()}, x)
