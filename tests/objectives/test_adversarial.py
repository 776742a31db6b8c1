"""Losses against critics, written again by hand."""

import torch

from impl.objectives.adversarial import discriminator_hinge, feature_matching, generator_hinge


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
