"""The loop of those `fit`s that learn by gradients."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from impl.data.batches import batch_indices


def adam(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    samples: int,
    steps: int,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Take Adam steps on shuffled batches; deterministic for a seed.

    Args:
        parameters: what is learned, in place.
        loss: of the rows (B,) int64 that make the batch; a scalar.
        samples: N, how many rows there are.
        steps: of the optimizer.
        batch_size: B, at most N.
        learning_rate: of Adam.
        seed: of the order of the rows.
    """
    parameters = list(parameters)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    device = parameters[0].device
    with torch.enable_grad():
        for step in range(steps):
            rows = batch_indices(step, samples, min(batch_size, samples), seed).to(device)
            optimizer.zero_grad(set_to_none=True)
            loss(rows).backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
