"""The Gaussian likelihood whose variance is always at its optimum: the reconstruction term of an evidence bound."""

import torch
from torch import Tensor

from impl.quantizers.collectives import averaged


def optimal_variance_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Return 1/2 log of the mean squared error, in nats a value: the negative log-likelihood up to a constant.

    With a variance v a value costs 1/2 log(2 pi v) + e / (2 v), e the mean squared error; v = e costs least,
    1/2 log(2 pi e) + 1/2 log e. Nothing is left to weigh against other terms of the bound: what these are worth grows
    as the error falls. The logarithm is that of the joined batch of all processes.

    Args:
        reconstruction: any shape.
        target: of the same shape.
    """
    error = averaged((reconstruction - target).square().mean())
    # A perfect reconstruction has no finite likelihood; below this its density is cut off.
    return error.clamp(min=torch.finfo(error.dtype).tiny).log() / 2
