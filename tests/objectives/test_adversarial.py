"""Losses against critics, written again by hand."""

import torch

from impl.networks.discriminators import PatchDiscriminator
from impl.objectives.adversarial import (
    adaptive_weight,
    discriminator_hinge,
    feature_matching,
    generator_hinge,
    held,
)


def test_hinge_losses():
    real, fake = [torch.tensor([2.0, 0.5])], [torch.tensor([-2.0, 0.0])]
    assert discriminator_hinge(real, fake).item() == (0.0 + 0.5) / 2 + (0.0 + 1.0) / 2
    assert generator_hinge(fake).item() == 1.0
    twice = discriminator_hinge(real * 2, fake * 2)
    assert twice.item() == discriminator_hinge(real, fake).item()


def test_feature_matching_is_relative_and_leaves_the_real_side_alone():
    real = [[torch.tensor([1.0, 3.0], requires_grad=True)]]
    fake = [[torch.tensor([2.0, 3.0], requires_grad=True)]]
    loss = feature_matching(real, fake)
    assert loss.item() == 0.25
    loss.backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad is not None
    larger = feature_matching([[10 * real[0][0]]], [[10 * fake[0][0]]])
    torch.testing.assert_close(larger, loss)


def a_critic():
    torch.manual_seed(0)
    return PatchDiscriminator(1, width=4, downsamplings=1)


def test_a_held_critic_judges_alike_and_learns_nothing():
    critic, images = a_critic(), torch.randn(2, 1, 8, 8, requires_grad=True)
    logits, features = held(critic, images)
    torch.testing.assert_close(logits[0], critic(images)[0][0])
    (generator_hinge(logits) + features[0][0].sum()).backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_the_adaptive_weight_makes_the_pulls_equal():
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    output = layer(torch.randn(5, 3))
    reconstruction, adversarial = output.square().mean(), output.sum() * 100
    weight = adaptive_weight(reconstruction, adversarial, layer.weight)
    pulls = [
        torch.autograd.grad(loss, layer.weight, retain_graph=True)[0].norm()
        for loss in (reconstruction, weight * adversarial)
    ]
    torch.testing.assert_close(pulls[0], pulls[1], rtol=1e-3, atol=0)
    rescaled = adaptive_weight(reconstruction, 7 * adversarial, layer.weight)
    torch.testing.assert_close(7 * rescaled, weight, rtol=1e-3, atol=0)
    assert not weight.requires_grad
    assert float(adaptive_weight(reconstruction, 1e-9 * adversarial, layer.weight, limit=5.0)) == 5.0
    assert float(adaptive_weight(reconstruction.detach(), adversarial, layer.weight)) == 0
