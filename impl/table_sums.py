"""Tables of a query: numbers of which M add up to the distance between the query and an item's code.

With the codewords' tables centred, so that far from the origin nothing is lost to rounding,

    |q - x^|^2 = sum_m |q_m - c_m|^2                            tables that cover disjoint parts: a product
    |q - x^|^2 = |q|^2 - 2 sum_m <q, c_m> + |sum_m c_m|^2       tables that overlap: one stored norm an item
    |q - x^|^2 = |q|^2 - 2 sum_m <q, c_m> + sum_m |c_m|^2 + e   tables whose products add up to e in every code: none

Either way a query costs M tables of K numbers once, and M additions an item after that. The additions of many queries
are made together, a table's row holding one codeword's entries for all of them, so that they run at the width of the
processor's registers instead of one look-up after the other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.tables import CodewordTables
from impl.top_k import GROUP, Nearest

#: Distances held at once, over all queries of a block and a block of items.
BLOCK = 2**20


class TableSums:
    """What distances to codes are made of, for one set of codewords.

    Args:
        tables: the codewords.
    """

    def __init__(self, tables: CodewordTables) -> None:
        self.tables = tables
        #: Whether items need no norm.
        self.additive = tables.disjoint or tables.products is not None
        means = [table.double().mean(dim=0) for table in tables.codewords]
        if tables.products is not None:  # which holds for the codewords as they are
            means = [torch.zeros_like(mean) for mean in means]
        self._centred = [
            (table.double() - mean).to(table.dtype)
            for table, mean in zip(tables.codewords, means, strict=True)
        ]
        self._spans = [
            slice(start, start + table.shape[1])
            for start, table in zip(tables.starts, self._centred, strict=True)
        ]
        device = self._centred[0].device
        self._center = torch.zeros(max(s.stop for s in self._spans), dtype=torch.float64, device=device)
        for span, mean in zip(self._spans, means, strict=True):
            self._center[span] += mean
        sizes = torch.tensor([0] + [len(table) for table in self._centred])
        self._offsets = sizes.cumsum(0)[:-1].to(device)
        self._gram: Tensor | None = None

    def entries(self, queries: Tensor) -> Tensor:
        """Return (Q, K_1 + ... + K_M) for queries (Q, D): the distance of an item is a sum of M, and its norm."""
        if self.tables.rotation is not None:
            queries = queries @ self.tables.rotation.to(queries.dtype)
        queries = (queries.double() - self._center).to(queries.dtype)
        products = [
            -2 * queries[:, s] @ c.T.to(queries.dtype)
            for s, c in zip(self._spans, self._centred, strict=True)
        ]
        return self._complete(torch.cat(products, dim=1), queries.square().sum(dim=1))

    def symmetric_entries(self, codes: Tensor) -> Tensor:
        """Return what `entries` would for the vectors that codes (Q, M) stand for."""
        if self._gram is None:
            padded = self._padded()
            self._gram = padded @ padded.T
        products = -2 * F.embedding_bag(codes + self._offsets, self._gram, mode="sum")
        return self._complete(products, self._squares(codes))

    def norms(self, codes: Tensor) -> Tensor | None:
        """Return what items with codes (N, M) have to add, |x^ - centre|^2 (N,), or None where nothing is needed."""
        return None if self.additive else self._squares(codes)

    def nearest(self, entries: Tensor, codes: Tensor, norms: Tensor | None, k: int) -> Nearest:
        """Return the k nearest of items with codes (N, M) and norms (N,) to each query of entries (Q, ...)."""
        best, table = Nearest.none(entries), entries.T.contiguous()
        for first, block in item_blocks(codes, len(entries)):
            distances = F.embedding_bag(block + self._offsets, table, mode="sum")
            if norms is not None:
                distances += norms[first : first + len(block), None]
            best = best.with_items(distances, first, k)
        return best

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

    def _squares(self, codes: Tensor) -> Tensor:
        padded = self._padded()
        sums = [
            F.embedding_bag(block + self._offsets, padded, mode="sum").square().sum(dim=1)
            for _, block in item_blocks(codes, padded.shape[1])
        ]
        return torch.cat(sums) if sums else padded.new_empty(0)


def item_blocks(items: Tensor, width: int) -> list[tuple[int, Tensor]]:
    """Cut items (N, ...) into blocks of which `width` numbers an item fill BLOCK; each with its first row."""
    rows = max(1, BLOCK // max(width, 1))
    rows -= rows % GROUP if rows > GROUP else 0
    return [(first, items[first : first + rows]) for first in range(0, len(items), rows)]
