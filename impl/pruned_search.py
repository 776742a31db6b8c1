"""Exact look-up search that leaves most look-ups out: clusters of items, and sums that stop early (VAQ).

The answer is that of a full scan (`impl.search`), for the distance between query and decoded item, by two bounds on it:

    |q - x^| >= |q - c| - |x^ - c|            for the centre c of the item's cluster: the triangle inequality
    |q - x^|^2 >= the sum of the first tables  for tables over disjoint parts: early abandoning

Clusters are visited in the order of |q - c|, the members of each from the farthest from c on, so that those which the
first bound rules out come last.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.kmeans import kmeans
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.tables import CodewordTables
from impl.search import Searchable

#: Share of a distance by which rounding may fool the bounds.
SLACK = 1e-9


class Found(NamedTuple):
    """What a search found, and what it cost.

    Attributes:
        distances: (Q, k) squared, ascending.
        rows: (Q, k) int64, rows of the items; equal distances: lowest row first.
        lookups: table entries that were added up, of all queries; a full scan takes Q N M.
    """

    distances: Tensor
    rows: Tensor
    lookups: int


class PrunedIndex:
    """Items kept as codes in clusters (paparrizos2022fast), for quantizers whose parts do not overlap.

    Args:
        quantizer: fitted; PQ, OPQ, VAQ and others whose codeword tables are disjoint. The first tables should matter
            most, as VAQ's do.
        items: (N, D), at least one.
        num_clusters: of the decoded items, by k-means.
        seed: of the k-means.

    Raises:
        ValueError: tables that overlap, or no items.
    """

    @torch.no_grad()
    def __init__(self, quantizer: Searchable, items: Tensor, num_clusters: int = 32, seed: int = 0) -> None:
        positive_integer("num_clusters", num_clusters)
        self.tables: CodewordTables = quantizer.codeword_tables()
        if not self.tables.disjoint:
            raise ValueError("quantizer must have codeword tables over parts that do not overlap.")
        self.codes = quantizer.encode(items)
        decoded = torch.cat(
            [table[column] for table, column in zip(self._words(), self.codes.unbind(1), strict=True)], dim=1
        )
        self.centres = kmeans(decoded, num_clusters, seed=seed)
        clusters = nearest_codes(decoded, self.centres)
        radii = (decoded - self.centres[clusters]).square().sum(dim=1).sqrt()
        #: Of each cluster: rows of its items and their distances to the centre, farthest first.
        self.members: list[tuple[Tensor, Tensor]] = []
        for cluster in range(len(self.centres)):
            rows = (clusters == cluster).nonzero()[:, 0]
            order = radii[rows].argsort(descending=True, stable=True)
            self.members.append((rows[order], radii[rows[order]]))

    @torch.no_grad()
    def search(
        self,
        queries: Tensor,
        k: int,
        early_abandon: bool = True,
        triangle_inequality: bool = True,
        visit: float = 1.0,
    ) -> Found:
        """Return the k items nearest to each query (Q, D); with `visit` 1 those of a full scan.

        Args:
            queries: (Q, D).
            k: neighbours, at most the number of items.
            early_abandon: stop a sum that is past the k-th best distance.
            triangle_inequality: skip items that cannot be near, by their distance to the cluster's centre.
            visit: share of the clusters that are looked at, nearest first; more while k items are not there.

        Raises:
            ValueError: k below 1 or above the number of items, or a share outside (0, 1].
        """
        if positive_integer("k", k) > len(self.codes):
            raise ValueError(f"k must be at most the number of items, {len(self.codes)}, got {k}.")
        if not 0 < visit <= 1:
            raise ValueError(f"visit must be above 0 and at most 1, got {visit}.")
        found, lookups = [], 0
        for query in self._rotated(queries):
            best, count = self._search(query, k, early_abandon, triangle_inequality, visit)
            found.append(best)
            lookups += count
        if not found:
            return Found(queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64), 0)
        distances, rows = (torch.stack(column) for column in zip(*found, strict=True))
        return Found(distances.to(queries.dtype), rows, lookups)

    def _search(
        self, query: Tensor, k: int, early_abandon: bool, triangle_inequality: bool, visit: float
    ) -> tuple[tuple[Tensor, Tensor], int]:
        """The k best distances and rows for one rotated query (D,), and the number of look-ups."""
        parts = query.split([table.shape[1] for table in self.tables.codewords])
        entries = [(p - table).square().sum(dim=1) for p, table in zip(parts, self._words(), strict=True)]
        gaps = (query - self.centres).square().sum(dim=1).sqrt()
        distances, rows, lookups = query.new_empty(0), self.codes.new_empty(0), 0
        wanted = max(1, round(visit * len(gaps)))
        for turn, cluster in enumerate(gaps.argsort(stable=True).tolist()):
            if turn >= wanted and len(rows) == k:
                break
            threshold = float(distances[-1]) if len(rows) == k else torch.inf
            inside, radii = self.members[cluster]
            if triangle_inequality:
                least = float(gaps[cluster]) * (1 - SLACK) - threshold**0.5
                inside = inside[: int((radii >= least).sum())]
            sums = query.new_zeros(len(inside))
            for entry, column in zip(entries, self.codes[inside].unbind(1), strict=True):
                alive = (
                    sums <= threshold * (1 + SLACK) if early_abandon else torch.ones_like(sums, dtype=bool)
                )
                lookups += int(alive.sum())
                sums[alive] += entry[column[alive]]
            distances, rows = _smallest(torch.cat([distances, sums]), torch.cat([rows, inside]), k)
        return (distances, rows), lookups

    def _words(self) -> list[Tensor]:
        return [table.double() for table in self.tables.codewords]

    def _rotated(self, queries: Tensor) -> Tensor:
        queries = queries.double()
        return queries if self.tables.rotation is None else queries @ self.tables.rotation.double()


def _smallest(distances: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest distances and their rows, ascending; of equal ones the lowest row first."""
    order = rows.argsort()
    order = order[distances[order].argsort(stable=True)][:k]
    return distances[order], rows[order]
