"""Losses between a generator and its critics. Critics give maps of logits, high for real; several critics give a list
of them, of which each counts the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_hinge(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Return the critics' loss: mean of max(0, 1 - real) and of max(0, 1 + fake), averaged over the critics.

    Args:
        real: logits of real samples, a tensor of any shape for each critic.
        fake: logits of generated samples, cut off from the generator's graph.
    """
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def generator_hinge(fake: list[Tensor]) -> Tensor:
    """Return the generator's loss: mean of -fake, averaged over the critics."""
    return torch.stack([-logits.mean() for logits in fake]).mean()


def feature_matching(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Return how far the critics' inner outputs are apart: the mean absolute difference of every layer as a share of
    the mean magnitude that real samples give there (defossez2023high), averaged over layers and critics.
    """
    shares = [
        (r.detach() - f).abs().mean() / r.detach().abs().mean().clamp(min=1e-8)
        for reals, fakes in zip(real, fake, strict=True)
        for r, f in zip(reals, fakes, strict=True)
    ]
    return torch.stack(shares).mean()
