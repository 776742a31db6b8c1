"""Finite scalar quantization: round each of a few bounded channels; the codebook is the grid.

Parts: rounding (here), straight-through gradient (`gradients`); no codebook, no loss of its own.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.gradients import straight_through


class FSQ(Quantizer):
    """Finite scalar quantization (mentzer2024finite).

    Channel i is squashed by tanh to an interval that holds exactly L_i integers, rounded, and divided by
    floor(L_i / 2): odd L gives a symmetric grid on [-1, 1], even L one with a level more below zero ({-1,
    -.5, 0, .5} for L = 4). The squashing of an even channel is shifted so that z = 0 still is level 0. The
    paper's listing has tan where this shift needs atanh; at L = 2 atanh would push level -1 out to z <
    -3.8, so there the boundary between the two levels stays at 0. The gradient is that of the squashing,
    through the rounding. The code is the mixed-radix number of the levels, first channel lowest.

    Args:
        levels: L_i, at least 2 each; as many as the latents are wide. Their product must fit an int64.

    Raises:
        TypeError, ValueError: levels that are empty, not integers, below 2, or with too large a product.
    """

    exempt_laws: ClassVar[dict[str, str]] = {"codebook_moves": "the codebook is a fixed grid"}
    #: Keeps the outermost levels' interval open, as in the paper.
    margin = 1e-3

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(positive_integer("levels", level, least=2) for level in levels)
        if not self.levels:
            raise ValueError("levels must name at least one channel, got none.")
        size = math.prod(self.levels)
        if size >= 2**63:
            raise ValueError(f"levels must have a product below 2^63, got {size}.")
        self.dim, self.codebook_sizes = len(self.levels), (size,)
        place = [math.prod(self.levels[:index]) for index in range(self.dim)]
        self.register_buffer("_levels", torch.tensor(self.levels), persistent=False)
        self.register_buffer("_place", torch.tensor(place), persistent=False)
        self._zero_code = sum(level // 2 * at for level, at in zip(self.levels, place, strict=True))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return alternating odd and even levels, 3 and 4."""
        return cls([3 + index % 2 for index in range(dim)])

    def bound(self, vectors: Tensor) -> Tensor:
        """Squash vectors (N, D) to where rounding gives L_i integers from -floor(L_i / 2) up."""
        half = (self._levels - 1) * (1 - self.margin) / 2
        offset = torch.where(self._levels % 2 == 0, 0.5, 0.0)
        shift = torch.where(self._levels > 2, torch.atanh((offset / half).clamp(max=1 - 1e-6)), 0.0)
        half, offset, shift = (part.to(vectors.dtype) for part in (half, offset, shift))
        return torch.tanh(vectors + shift) * half - offset

    def _quantize(self, vectors: Tensor) -> Quantized:
        bounded, half = self.bound(vectors), self._levels // 2
        steps = bounded.detach().round()
        latents = steps / half
        if bounded.requires_grad:
            latents = straight_through(bounded / half, latents)
        return Quantized(latents, self._number(steps.long()), {})

    def _number(self, steps: Tensor) -> Tensor:
        """Mixed-radix number (N, 1) of integer levels (N, D) about 0; in int64, as float32 is exact to 2^24 only."""
        return (steps * self._place).sum(dim=1, keepdim=True) + self._zero_code

    def _encode(self, vectors: Tensor) -> Tensor:
        return self._number(self.bound(vectors).round().long())

    def _decode(self, codes: Tensor) -> Tensor:
        half = self._levels // 2
        return (codes // self._place % self._levels - half) / half
