"""Nearest-neighbour search over codes without decoding them: a few table look-ups and additions an item.

A quantizer whose decode is a sum of codewords (PQ, OPQ, RVQ, AQ, LSQ) says so in `codeword_tables()`. Then, with the
tables centred so that far from the origin nothing is lost to rounding,

    |q - x^|^2 = sum_m |q_m - c_m|^2                            tables that cover disjoint parts: a product
    |q - x^|^2 = |q|^2 - 2 sum_m <q, c_m> + |sum_m c_m|^2       tables that overlap: one stored norm an item
    |q - x^|^2 = |q|^2 - 2 sum_m <q, c_m> + sum_m |c_m|^2 + e   tables whose products add up to e in every code: none

Either way a query costs M tables of K numbers once, and M additions an item after that. The additions of many queries
are made together, a table's row holding one codeword's entries for all of them, so that they run at the width of the
processor's registers instead of one look-up after the other.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.tables import CodewordTables
from impl.top_k import GROUP, Nearest

#: Distances held at once, over a block of queries and a block of items.
BLOCK = 2**20
BLOCK_QUERIES = 64


class Searchable(Protocol):
    """What search needs of a quantizer: codes, and tables whose rows add up to the decoded vector."""

    def encode(self, latents: Tensor) -> Tensor:
        """Return the codes (N, M) of latents (N, D)."""

    def codeword_tables(self) -> CodewordTables:
        """Return the tables."""


class LookupIndex:
    """Items kept as codes, searched with look-up tables (jegou2011product; additive: babenko2014additive).

    Args:
        quantizer: fitted; any with `encode` and `codeword_tables`.
        items: (N, D) vectors to search; only their codes are kept, and their norms where tables overlap.
    """

    @torch.no_grad()
    def __init__(self, quantizer: Searchable, items: Tensor) -> None:
        self.quantizer = quantizer
        self.tables = quantizer.codeword_tables()
        #: Whether items need no norm.
        self.additive = self.tables.disjoint or self.tables.products is not None
        means = [table.double().mean(dim=0) for table in self.tables.codewords]
        if self.tables.products is not None:  # which holds for the codewords as they are
            means = [torch.zeros_like(mean) for mean in means]
        self._centred = [
            (table.double() - mean).to(table.dtype)
            for table, mean in zip(self.tables.codewords, means, strict=True)
        ]
        self._spans = [
            slice(start, start + table.shape[1])
            for start, table in zip(self.tables.starts, self._centred, strict=True)
        ]
        width = max(span.stop for span in self._spans)
        self._center = torch.zeros(width, dtype=torch.float64, device=items.device)
        for span, mean in zip(self._spans, means, strict=True):
            self._center[span] += mean
        sizes = torch.tensor([0] + [len(table) for table in self._centred])
        self._offsets = sizes.cumsum(0)[:-1].to(items.device)
        self.codes = narrowed(quantizer.encode(items), max(len(table) for table in self._centred))
        #: |x^ - centre|^2 of each item, or None where none is needed.
        self.norms = None if self.additive else self._norms(self.codes)
        self._gram: Tensor | None = None

    def search(self, queries: Tensor, k: int, symmetric: bool = False) -> tuple[Tensor, Tensor]:
        """Return the k items nearest to each query (Q, D), by the distance between query and decoded item.

        Memory is O(Q k) and a block, however many items there are.

        Args:
            queries: (Q, D).
            k: neighbours, at most the number of items.
            symmetric: quantize the queries too; the tables then hold distances between codewords and are the same for
                all queries, at the price of the query's own error.

        Returns:
            Squared distances (Q, k), ascending, and rows of the items (Q, k) int64. Equal distances: lowest row first.

        Raises:
            ValueError: k is below 1 or above the number of items.
        """
        _check_k(k, len(self.codes))
        if queries.ndim != 2 or not torch.isfinite(queries).all():
            raise ValueError(
                f"queries must be finite vectors (Q, D), got shape {tuple(queries.shape)} or NaN."
            )
        found = [self._nearest(self._query_tables(b, symmetric), k) for b in queries.split(BLOCK_QUERIES)]
        if not queries.numel():
            return queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=queries.device)
        distances, rows = (torch.cat(column) for column in zip(*found, strict=True))
        return distances.clamp(min=0), rows

    def _nearest(self, entries: Tensor, k: int) -> Nearest:
        best, table = Nearest.none(entries), entries.T.contiguous()
        for first, block in _blocks(self.codes, len(entries)):
            # A row of the table is one codeword and all queries, so that adding M rows runs over queries side by side.
            distances = F.embedding_bag(block + self._offsets, table, mode="sum")
            if self.norms is not None:
                distances += self.norms[first : first + len(block), None]
            best = best.with_items(distances, first, k)
        return best

    @torch.no_grad()
    def _query_tables(self, queries: Tensor, symmetric: bool) -> Tensor:
        """Entries (Q, K_1 + ... + K_M), M of which add up to the distance of an item, but for its norm."""
        if symmetric:
            return self._symmetric_tables(self.quantizer.encode(queries))
        if self.tables.rotation is not None:
            queries = queries @ self.tables.rotation.to(queries.dtype)
        queries = (queries.double() - self._center).to(queries.dtype)
        entries = [
            -2 * queries[:, s] @ c.T.to(queries.dtype)
            for s, c in zip(self._spans, self._centred, strict=True)
        ]
        return self._complete(torch.cat(entries, dim=1), queries.square().sum(dim=1))

    def _symmetric_tables(self, codes: Tensor) -> Tensor:
        if self._gram is None:
            padded = self._padded()
            self._gram = padded @ padded.T
        flat = codes + self._offsets
        return self._complete(-2 * F.embedding_bag(flat, self._gram, mode="sum"), self._norms(codes))

    def _complete(self, entries: Tensor, constants: Tensor) -> Tensor:
        """Add each codeword's own norm to its entry where items have no norm.

        What an item has once, the query's constant (Q,) and the products, goes to the first table.
        """
        if self.additive:
            entries = entries + torch.cat([table.square().sum(dim=1) for table in self._centred])
        entries[:, : len(self._centred[0])] += constants[:, None] + (self.tables.products or 0)
        return entries

    def _padded(self) -> Tensor:
        """All codewords (K_1 + ... + K_M, D), zero where their table does not reach."""
        width = len(self._center)
        return torch.cat(
            [F.pad(c, (s.start, width - s.stop)) for s, c in zip(self._spans, self._centred, strict=True)]
        )

    def _norms(self, codes: Tensor) -> Tensor:
        padded = self._padded()
        rows = max(1, BLOCK // padded.shape[1])
        sums = [
            F.embedding_bag(block + self._offsets, padded, mode="sum").square().sum(dim=1)
            for block in codes.split(rows)
        ]
        return torch.cat(sums) if sums else padded.new_empty(0)


def exact_neighbours(queries: Tensor, items: Tensor, k: int) -> Tensor:
    """Return the rows (Q, k) of items (N, D) nearest to queries (Q, D) by squared distance, nearest first.

    Distances are taken in float64 (exact for integers); equal ones: lowest row first. Blocked as `LookupIndex.search`.

    Raises:
        ValueError: k is below 1 or above the number of items.
    """
    _check_k(k, len(items))
    found = []
    for block in queries.double().split(BLOCK_QUERIES):
        best, norms = Nearest.none(block), block.square().sum(dim=1)
        for first, part in _blocks(items, len(block)):
            part = part.double()
            distances = norms - 2 * part @ block.T + part.square().sum(dim=1, keepdim=True)
            best = best.with_items(distances, first, k)
        found.append(best.rows)
    return torch.cat(found) if found else torch.empty(0, k, dtype=torch.int64)


def narrowed(codes: Tensor, codebook_size: int) -> Tensor:
    """Return codes in the smallest integer type that holds 0 to `codebook_size` - 1: a byte each for 256 codewords."""
    fitting = (
        kind for kind in (torch.uint8, torch.int16, torch.int32) if codebook_size - 1 <= torch.iinfo(kind).max
    )
    return codes.to(next(fitting, torch.int64))


def recall_at(found: Tensor, nearest: Tensor, depth: int) -> float:
    """Return recall@R: the share of queries whose true nearest item is among the first R found (jegou2011product).

    Args:
        found: (Q, k) rows, best first, k at least R.
        nearest: (Q,) the true nearest row of each query.
        depth: R.

    Raises:
        ValueError: R is below 1 or above k, or the numbers of queries differ.
    """
    _check_k(depth, found.shape[1], "depth", "columns of found")
    if len(found) != len(nearest):
        raise ValueError(f"found and nearest must have one row a query, got {len(found)} and {len(nearest)}.")
    return float((found[:, :depth] == nearest[:, None]).any(dim=1).double().mean())


def _check_k(k: int, most: int, name: str = "k", of: str = "items") -> None:
    if positive_integer(name, k) > most:
        raise ValueError(f"{name} must be at most the number of {of}, {most}, got {k}.")


def _blocks(items: Tensor, queries: int) -> list[tuple[int, Tensor]]:
    rows = max(1, BLOCK // max(queries, 1))
    rows -= rows % GROUP if rows > GROUP else 0
    return [(first, items[first : first + rows]) for first in range(0, len(items), rows)]
