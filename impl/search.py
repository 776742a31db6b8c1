"""Nearest-neighbour search over codes without decoding them: a few table look-ups and additions an item.

A quantizer whose decode is a sum of codewords (PQ, OPQ, RVQ, AQ, LSQ) says so in `codeword_tables()`; how distances are
made of them is in `table_sums`, and the k smallest of many are kept by `top_k`.
"""

from typing import Protocol

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.tables import CodewordTables
from impl.table_sums import TableSums, item_blocks
from impl.top_k import Nearest

#: Queries searched together.
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
        self.sums = TableSums(quantizer.codeword_tables())
        #: Codes (N, M) in the smallest integer type that holds them: not for indexing, PyTorch takes bytes for a mask.
        self.stored = narrowed(quantizer.encode(items), max(map(len, self.sums.tables.codewords)))
        #: |x^ - centre|^2 of each item, or None where none is needed.
        self.norms = self.sums.norms(self.stored)

    @property
    def codes(self) -> Tensor:
        """Return the codes (N, M) of the items, int64."""
        return self.stored.long()

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
        check_k(k, len(self.stored))
        check_queries(queries)
        found = [self._nearest(block, k, symmetric) for block in queries.split(BLOCK_QUERIES)]
        distances, rows = (torch.cat(column) for column in zip(*found, strict=True))
        return distances.clamp(min=0), rows

    @torch.no_grad()
    def _nearest(self, queries: Tensor, k: int, symmetric: bool) -> Nearest:
        entries = (
            self.sums.symmetric_entries(self.quantizer.encode(queries))
            if symmetric
            else self.sums.entries(queries)
        )
        return self.sums.nearest(entries, self.stored, self.norms, k)


def check_queries(queries: Tensor) -> None:
    """Raise ValueError unless queries are finite vectors (Q, D)."""
    if queries.ndim != 2 or not bool(torch.isfinite(queries).all()):
        raise ValueError(f"queries must be finite vectors (Q, D), got shape {tuple(queries.shape)} or NaN.")


def exact_neighbours(queries: Tensor, items: Tensor, k: int) -> Tensor:
    """Return the rows (Q, k) of items (N, D) nearest to queries (Q, D) by squared distance, nearest first.

    Distances are taken in float64 (exact for integers); equal ones: lowest row first. Blocked as `LookupIndex.search`.

    Raises:
        ValueError: k is below 1 or above the number of items.
    """
    check_k(k, len(items))
    found = []
    for block in queries.double().split(BLOCK_QUERIES):
        best, norms = Nearest.none(block), block.square().sum(dim=1)
        for first, part in item_blocks(items, len(block)):
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
    check_k(depth, found.shape[1], "depth", "columns of found")
    if len(found) != len(nearest):
        raise ValueError(f"found and nearest must have one row a query, got {len(found)} and {len(nearest)}.")
    return float((found[:, :depth] == nearest[:, None]).any(dim=1).double().mean())


def check_k(k: int, most: int, name: str = "k", of: str = "items") -> None:
    """Raise ValueError unless 1 <= k <= most."""
    if positive_integer(name, k) > most:
        raise ValueError(f"{name} must be at most the number of {of}, {most}, got {k}.")
