"""Entropies of soft assignments over K codes, in nats: how sure each one is, how varied their mean is."""

import torch
from torch import Tensor

from impl.quantizers.collectives import averaged


def mean_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of softmax(logits), logits (N, K): 0 when each assignment is sure; 0 for N = 0."""
    log_probabilities = torch.log_softmax(logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum() / max(len(logits), 1)


def entropy_of_mean(probabilities: Tensor) -> Tensor:
    """Return the entropy of the mean of probabilities (N, K) over the joined batch of all processes; 0 for N = 0.

    It is log K where all codes are used alike. Processes weigh alike: give them equal batches.
    """
    if len(probabilities) == 0:
        return probabilities.sum()
    # p log p has slope -inf at 0, which times a slope of zero would be NaN.
    mean = averaged(probabilities.mean(dim=0)).clamp(min=torch.finfo(probabilities.dtype).tiny)
    return -(mean * mean.log()).sum()
