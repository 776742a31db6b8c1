"""The k smallest of very many distances, kept while they pass by in blocks.

Most blocks hold nothing nearer than the k-th best so far. So each block is first reduced to the minima of groups of
items, which costs less than making the distances did, and only groups that beat the k-th best are looked at.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

#: Items whose minimum is compared with the k-th best at once.
GROUP = 32


class Nearest(NamedTuple):
    """The best so far of each of Q queries: ascending, of equal distances the lowest row first.

    Attributes:
        distances: (Q, n), n at most k.
        rows: (Q, n) int64, rows of the items.
    """

    distances: Tensor
    rows: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Self:
        """Return nothing found yet for as many queries as `like` (Q, ...) has, of its type and on its device."""
        queries = len(like)
        return cls(like.new_empty(queries, 0), torch.empty(queries, 0, dtype=torch.int64, device=like.device))

    def with_items(self, distances: Tensor, first: int, k: int) -> "Nearest":
        """Take in distances (B, Q) of the items in rows `first` and on, which come after all rows so far; keep k."""
        items, queries = distances.shape
        if self.distances.shape[1] < k or items % GROUP:
            rows = torch.arange(first, first + items, device=distances.device)
            return self.merged(distances.T, rows.expand(queries, -1), k)
        groups = distances.view(-1, GROUP, queries)
        # Strictly below: what equals the k-th best has a higher row, and loses.
        query, group = (groups.amin(dim=1) < self.distances[:, -1]).T.nonzero(as_tuple=True)
        if not len(query):
            return self
        counts = query.bincount(minlength=queries)
        place = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
        shape = (queries, int(counts.max()), GROUP)
        values, rows = distances.new_full(shape, torch.inf), group.new_zeros(shape)
        values[query, place] = groups[group, :, query]
        rows[query, place] = first + group[:, None] * GROUP + torch.arange(GROUP, device=group.device)
        return self.merged(values.flatten(1), rows.flatten(1), k)

    def merged(self, distances: Tensor, rows: Tensor, k: int) -> "Nearest":
        """Take in distances (Q, n) of items in `rows` (Q, n), ascending and above all rows so far; keep k.

        `topk` alone may pick any of equal distances: it only gives the k-th distance here. What is below it is kept,
        then of what equals it as many as fit, in the order of rows.
        """
        values = torch.cat([self.distances, distances], dim=1)
        rows = torch.cat([self.rows, rows], dim=1)
        if values.shape[1] > k:
            kth = values.topk(k, dim=1, largest=False).values[:, -1:]
            below, equal = values < kth, values == kth
            kept = below | (equal & (equal.cumsum(dim=1) <= k - below.sum(dim=1, keepdim=True)))
            values, rows = values[kept].view(-1, k), rows[kept].view(-1, k)
        values, order = values.sort(dim=1, stable=True)
        return Nearest(values, rows.gather(1, order))
