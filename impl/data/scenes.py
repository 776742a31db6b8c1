"""Digits that lie somewhere on a photograph: what is to be seen is clear, and many pixels are about something else."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impl.data.images import digit_labels, digits, photo_patches

SIDE, DIGIT = 16, 12
DIM = 0.35  # how bright the ground is


class Scenes(NamedTuple):
    """Images (N, 3, 16, 16) in [-1, 1] and the digits (N,) in them."""

    images: Tensor
    digits: Tensor


def digit_scenes(split: str = "train", copies: int = 4) -> Scenes:
    """Paint each handwritten digit, 12 pixels high and bright, at a random place of `copies` dimmed photo patches.

    Places, patches and colours are drawn from fixed seeds; digits and patches of the test split are in no training
    image. 1,400 copies for training, 397 for testing.

    Raises:
        ValueError: `split` is neither "train" nor "test", or no copies.
    """
    if not isinstance(copies, int) or copies < 1:
        raise ValueError(f"copies must be a whole number of at least 1, got {copies!r}.")
    images, labels = _scenes(split, copies)
    return Scenes(images.clone(), labels.clone())


@lru_cache(maxsize=2)
def _scenes(split: str, copies: int) -> tuple[Tensor, Tensor]:
    ink = (F.interpolate(digits(split), size=DIGIT, mode="bilinear", align_corners=False) + 1) / 2
    ink, labels = ink.repeat(copies, 1, 1, 1), digit_labels(split).repeat(copies)
    patches = photo_patches(split, SIDE)
    draws = np.random.RandomState(len(ink))
    ground = DIM * (patches[torch.from_numpy(draws.randint(len(patches), size=len(ink)))] + 1) - 1
    mask = torch.zeros(len(ink), 1, SIDE, SIDE)
    for row, (top, left) in enumerate(draws.randint(SIDE - DIGIT + 1, size=(len(ink), 2))):
        mask[row, :, top : top + DIGIT, left : left + DIGIT] = ink[row]
    shade = 0.4 + 0.6 * torch.from_numpy(draws.rand(len(ink), 3, 1, 1)).float()
    return ground * (1 - mask) + shade * mask, labels
