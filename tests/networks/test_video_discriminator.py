"""The critic of videos: shapes, and a reduction that does not alias."""

import torch

from impl.networks.video_discriminator import BlurPool, VideoDiscriminator


def test_one_logit_a_patch_and_frame():
    critic = VideoDiscriminator(3, 4, 2)
    for frames in (1, 5):
        logits, features = critic(torch.randn(2, 3, frames, 16, 16))
        assert len(logits) == len(features) == 1
        assert logits[0].shape == (2, 1, frames, 4, 4)
        assert [layer.shape[1] for layer in features[0]] == [4, 8]


def test_blurring_removes_what_would_alias():
    pool = BlurPool()
    stripes = torch.ones(1, 2, 1, 8, 8)
    stripes[..., ::2] = -1
    assert pool(stripes)[..., 1:].abs().max() == 0  # plain striding would give -1 throughout
    flat = torch.full((1, 2, 3, 8, 8), 5.0)
    torch.testing.assert_close(pool(flat), flat[..., :4, :4])
    assert pool(torch.zeros(1, 1, 1, 5, 7)).shape == (1, 1, 1, 3, 4)
