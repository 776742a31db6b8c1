"""The patch critic: shape, what a logit sees, too small images."""

import pytest
import torch

from impl.networks.discriminators import PatchDiscriminator


def test_one_logit_a_patch_and_the_layers_before():
    critic = PatchDiscriminator(3, width=4, downsamplings=2)
    logits, features = critic(torch.randn(2, 3, 32, 32))
    assert len(logits) == len(features) == 1
    assert logits[0].shape == (2, 1, 6, 6)
    assert [layer.shape[1] for layer in features[0]] == [4, 8, 16]


def test_the_critic_of_70_pixels_has_the_known_size():
    """3 halvings from 64 channels on RGB: 2.76 million weights, the size known from image-to-image translation."""
    weights = sum(p.numel() for p in PatchDiscriminator().parameters() if p.ndim == 4)
    assert weights == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"images must have at least 8 x 8, got \(4, 8\) pixels"):
        PatchDiscriminator(3, width=4, downsamplings=2)(torch.randn(1, 3, 4, 8))
