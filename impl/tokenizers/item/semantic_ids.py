"""Semantic ids: a short tuple of codes for each item of a catalogue, no two alike."""

from typing import NamedTuple

import torch
from torch import Tensor


class SemanticIds(NamedTuple):
    """The ids of N items.

    Attributes:
        codes: (N, L) int64, all rows different.
        sizes: K of each of the L columns.
    """

    codes: Tensor
    sizes: tuple[int, ...]

    def shuffled(self, seed: int = 0) -> "SemanticIds":
        """Hand the same ids to other items: what is left when an id says nothing about its item."""
        order = torch.randperm(len(self.codes), generator=torch.Generator().manual_seed(seed))
        return self._replace(codes=self.codes[order.to(self.codes.device)])


def semantic_ids(codes: Tensor, sizes: tuple[int, ...]) -> SemanticIds:
    """Make codes (N, M) unique by one more: items with equal codes are numbered from 0 in their order.

    The last column is as large as the largest group of equals.

    Raises:
        ValueError: no item, another number of columns than sizes, or codes out of range.
    """
    if codes.ndim != 2 or not len(codes) or codes.shape[1] != len(sizes):
        raise ValueError(f"codes must be (N, {len(sizes)}), N at least 1, got {tuple(codes.shape)}.")
    if bool(((codes < 0) | (codes >= torch.tensor(sizes, device=codes.device))).any()):
        raise ValueError(f"codes must be from 0 to below {sizes}, got others.")
    _, groups, counts = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
    # In the order of the groups, and inside one in that of the items, an item's number is its distance from the first.
    order = groups.argsort(stable=True)
    starts = counts.cumsum(dim=0) - counts
    digits = torch.empty_like(groups)
    digits[order] = torch.arange(len(codes), device=codes.device) - starts.repeat_interleave(counts)
    return SemanticIds(torch.cat([codes, digits[:, None]], dim=1), (*sizes, int(counts.max())))


def collisions(codes: Tensor) -> float:
    """Return the share of the items (N, M) that have their codes not for themselves."""
    _, groups, counts = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
    return float((counts[groups] > 1).float().mean())
