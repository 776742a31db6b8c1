"""Which positions a masked model has to fill in during training."""

import math

import torch
from torch import Tensor

BLOCK = (4, 0.3)  # the fewest positions of a block, and the flattest aspect


def block_masks(
    count: int, grid: tuple[int, int], masked: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw masks made of blocks (peng2022beit), exactly `masked` positions in each.

    Rectangles of at least 4 positions (fewer where fewer are left), of aspects from 0.3 to 1 / 0.3, are laid on one
    another at random as long as they fit into what is left; single positions fill the rest. A rectangle hides what its
    neighbours would give away.

    Args:
        count: B.
        grid: h and w.
        masked: positions to hide, 0 to h w.
        generator: of the draw, on the CPU; torch's global one when None.

    Returns:
        (B, h, w) bool, True where hidden.

    Raises:
        ValueError: more positions than there are.
    """
    height, width = grid
    if not 0 <= masked <= height * width:
        raise ValueError(f"masked must be from 0 to {height * width}, got {masked}.")
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, generator=generator)

    for _ in range(8):
        left = masked - masks.sum(dim=(1, 2))[:, None, None]
        area = BLOCK[0] + uniform() * (left - BLOCK[0]).clamp(min=0)
        aspect = torch.exp((2 * uniform() - 1) * -math.log(BLOCK[1]))
        tall = (area * aspect).sqrt().round().clamp(1, height)
        wide = (area / aspect).sqrt().round().clamp(1, width)
        top, start = (uniform() * (height - tall + 1)).floor(), (uniform() * (width - wide + 1)).floor()
        block = (rows >= top) & (rows < top + tall) & (columns >= start) & (columns < start + wide)
        joined = masks | block
        masks = torch.where(joined.sum(dim=(1, 2))[:, None, None] <= masked, joined, masks)
    ranks = torch.rand(count, height * width, generator=generator).masked_fill(masks.flatten(1), -1.0)
    return (_order(ranks) < masked).unflatten(1, grid)


def random_masks(positions: int, masked: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw masks (B, n) bool with masked (B,) positions True in each, any of them alike, on the CPU."""
    ranks = torch.rand(len(masked), positions, generator=generator)
    return _order(ranks) < masked.cpu()[:, None]


def _order(values: Tensor) -> Tensor:
    """Return the rank of each value in its row, from 0 for the lowest."""
    return values.argsort(dim=1).argsort(dim=1)
