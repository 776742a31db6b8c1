"""Masked decoding: all positions are told at once, the surest are kept, the rest is told again."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from impl.sampling.categorical import draw

#: Codes (B, n, M) and what of them is hidden (B, n), to logits (B, n, K_m) for each of the M columns.
Predict = Callable[[Tensor, Tensor], Sequence[Tensor]]


def hidden_share(progress: float | Tensor) -> float | Tensor:
    """Return the share of positions hidden at a progress from 0 to 1: the cosine schedule (chang2022maskgit)."""
    angle = math.pi / 2 * progress
    return torch.cos(angle) if isinstance(angle, Tensor) else math.cos(angle)


@torch.no_grad()
def decode_masked(
    predict: Predict,
    codes: Tensor,
    hidden: Tensor,
    steps: int,
    temperature: float = 1.0,
    choice_temperature: float = 4.5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill in hidden codes in a few passes (chang2022maskgit).

    Each pass draws every hidden code and keeps those of the highest log-probability, summed over columns, plus Gumbel
    noise that fades to nothing; after pass s of S, cos(pi s / 2 S) of the positions stay hidden, and at least one fewer
    than before.

    Args:
        predict: the model.
        codes: (B, n, M); what stands at hidden positions does not matter.
        hidden: (B, n) bool.
        steps: S, passes of the model.
        temperature: of the draw.
        choice_temperature: of the noise.
        generator: of both; torch's global one when None.

    Returns:
        (B, n, M), at positions that were not hidden as given.

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    codes, hidden, start = codes.clone(), hidden.clone(), hidden.sum(dim=1)
    for step in range(1, steps + 1):
        logits = predict(codes, hidden)
        drawn = torch.stack([draw(column, temperature, generator=generator) for column in logits], dim=-1)
        chances = [
            column.log_softmax(dim=-1).gather(-1, code[..., None])[..., 0]
            for column, code in zip(logits, drawn.unbind(-1), strict=True)
        ]
        noise = torch.rand(hidden.shape, device=codes.device, generator=generator).clamp(min=1e-20)
        sure = sum(chances) - choice_temperature * (1 - step / steps) * torch.log(-torch.log(noise))
        left = (start * hidden_share(step / steps)).long() if step < steps else torch.zeros_like(start)
        left = torch.minimum(left, (hidden.sum(dim=1) - 1).clamp(min=0))
        # The least sure of the hidden ones stay hidden.
        ranks = sure.masked_fill(~hidden, torch.inf).argsort(dim=1).argsort(dim=1)
        told = hidden & (ranks >= left[:, None])
        codes = torch.where(told[..., None], drawn, codes)
        hidden = hidden & ~told
    return codes
