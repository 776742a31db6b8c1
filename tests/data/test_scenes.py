"""Digits on photographs: sizes, seeds, splits, and that the digit is where the ink is."""

import pytest
import torch

from impl.data.images import digit_labels
from impl.data.scenes import digit_scenes


def test_sizes_range_and_labels():
    for split, count in (("train", 1400), ("test", 397)):
        scenes = digit_scenes(split, 2)
        assert scenes.images.shape == (2 * count, 3, 16, 16) and scenes.images.dtype == torch.float32
        assert -1 <= scenes.images.min() < -0.9 and 0.9 < scenes.images.max() <= 1
        assert torch.equal(scenes.digits, digit_labels(split).repeat(2))


def test_each_call_gives_the_same_in_a_tensor_of_its_own():
    first = digit_scenes("test", 1).images
    first.zero_()
    assert digit_scenes("test", 1).images.abs().sum() > 0
    assert torch.equal(digit_scenes("test", 1).images, digit_scenes("test", 1).images)


def test_a_digit_has_its_copies_in_other_places():
    images = digit_scenes("test", 3).images
    assert not torch.equal(images[:397], images[397:794])
    ink = images.mean(dim=1) > 0
    assert (ink.sum(dim=(1, 2)) > 8).float().mean() > 0.95


@pytest.mark.parametrize(("split", "copies", "message"), [("dev", 1, "split"), ("train", 0, "copies")])
def test_bad_arguments_are_refused(split, copies, message):
    with pytest.raises(ValueError, match=message):
        digit_scenes(split, copies)
