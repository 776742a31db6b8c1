"""The perceptual distance: by hand for one stage, what it ignores, that it is fixed."""

import torch
from torch import nn

from impl.objectives.perceptual import PerceptualDistance


def test_one_stage_by_hand():
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 1)
    first, second = torch.randn(2, 2, 4, 4), torch.randn(2, 2, 4, 4)
    ours, theirs = (torch.einsum("oc,bchw->bohw", convolution.weight[..., 0, 0], x) for x in (first, second))
    ours, theirs = (x + convolution.bias[:, None, None] for x in (ours, theirs))
    cosine = (ours * theirs).sum(1) / (ours.norm(dim=1) * theirs.norm(dim=1))
    found = PerceptualDistance([convolution])(first, second)
    torch.testing.assert_close(found, (2 - 2 * cosine).mean())


def test_it_is_zero_for_equal_images_and_grows_with_blur():
    distance = PerceptualDistance.random(1)
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    blur = nn.functional.avg_pool2d(image, 3, stride=1, padding=1)
    more = nn.functional.avg_pool2d(image, 7, stride=1, padding=3)
    assert distance(image, image) == 0
    assert 0 < distance(blur, image) < distance(more, image)


def test_it_is_fixed_and_its_own_seed_decides():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = PerceptualDistance.random(3, seed=1).train()
    torch.manual_seed(5)
    second, other = PerceptualDistance.random(3, seed=1), PerceptualDistance.random(3, seed=2)
    assert not first.training and not any(parameter.requires_grad for parameter in first.parameters())
    images = torch.rand(2, 1, 3, 16, 16)
    assert first(*images) == second(*images) != other(*images)
    assert expected.shape == (1,)
    assert torch.isfinite(first(images[0].requires_grad_(), torch.zeros_like(images[1])))
