"""The order of the samples in training, and batches made of them."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate


def batch_indices(step: int, samples: int, batch_size: int, seed: int) -> Tensor:
    """Which samples make the batch of a step, as a function of the arguments alone.

    The batches follow one another through an endless row of shuffles of all samples: each sample is used once
    before any is used again.

    Args:
        step: counting from 0.
        samples: how many there are.
        batch_size: how many to take.
        seed: of the shuffles.

    Returns:
        (batch_size,) int64.
    """
    epoch, start = divmod(step * batch_size, samples)
    parts, missing = [], batch_size
    while missing:
        parts.append(_shuffle(samples, seed, epoch)[start : start + missing])
        missing -= len(parts[-1])
        epoch, start = epoch + 1, 0
    return torch.cat(parts)


def take(data: Any, indices: Tensor) -> Any:
    """Take rows of a tensor (N, ...), or items of another indexable, stacked as torch's loaders do."""
    if isinstance(data, Tensor):
        return data[indices.to(data.device)]
    return default_collate([data[index] for index in indices.tolist()])


def draw_rows(data: Any, count: int, seed: int) -> Any:
    """Take `count` rows or items at random, without repetition: the first batch of a training run with that seed."""
    return take(data, batch_indices(0, len(data), count, seed))


@lru_cache(maxsize=2)
def _shuffle(samples: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(samples))
