"""Inverted file: items in lists, one for each cell of a coarse quantizer, so that a query looks at few of them.

Parts: the exact k nearest (`search`) for the cells, sums of table entries (`table_sums`) inside a list.
"""

import torch
from torch import Tensor

from impl.quantizers.cells import CoarseCells, rotated_by_cell
from impl.search import check_k, check_queries, exact_neighbours, narrowed
from impl.table_sums import TableSums
from impl.top_k import Nearest

#: Queries searched together; those that look into one list share its pass.
BLOCK_QUERIES = 1024


class InvertedFile:
    """Items in the lists of their cells, as codes of what the cell leaves (IVFADC, jegou2011product).

    With local rotations and codebooks it is the search of LOPQ (kalantidis2014locally). A query's tables are made in
    the frame of each cell that it looks into. Looking into all cells gives the exact order of the decoded items.

    Args:
        quantizer: fitted; its first code is the cell.
        items: (N, D) vectors to search; only their codes are kept, and their norms where tables overlap.
    """

    @torch.no_grad()
    def __init__(self, quantizer: CoarseCells, items: Tensor) -> None:
        self.quantizer, self.size = quantizer, len(items)
        codes = quantizer.encode(items)
        order = codes[:, 0].argsort(stable=True)
        lengths = codes[:, 0].bincount(minlength=quantizer.num_cells).tolist()
        #: Rows of the items in each list, ascending.
        self.rows = order.split(lengths)
        largest = max(quantizer.codebook_sizes[1:])
        self.stored = [narrowed(part, largest) for part in codes[order, 1:].split(lengths)]
        tables = [quantizer.local_tables(cell) for cell in range(quantizer.num_cells)]
        # Cells that share their codebooks, which then lie at one address, share what is made of them.
        made = {each.codewords[0].data_ptr(): TableSums(each) for each in tables}
        self.sums = [made[each.codewords[0].data_ptr()] for each in tables]
        self.norms = [sums.norms(part) for sums, part in zip(self.sums, self.stored, strict=True)]

    @torch.no_grad()
    def search(self, queries: Tensor, k: int, probes: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest items to each query (Q, D) among those in the `probes` cells nearest to it.

        Args:
            queries: (Q, D).
            k: neighbours, at most the number of items.
            probes: cells to look into, at most V.

        Returns:
            Squared distances (Q, k), ascending, and rows of the items (Q, k) int64; equal distances: lowest row first.
            Where the lists held fewer than k items the rest is infinity and row -1.

        Raises:
            ValueError: k or probes is out of range, or queries that are no finite vectors (Q, D).
        """
        check_k(k, self.size)
        check_k(probes, self.quantizer.num_cells, "probes", "cells")
        check_queries(queries)
        found = [self._nearest(block, k, probes) for block in queries.split(BLOCK_QUERIES)]
        distances, rows = (torch.cat(column) for column in zip(*found, strict=True))
        return distances.clamp(min=0), rows

    def _nearest(self, queries: Tensor, k: int, probes: int) -> Nearest:
        chosen = exact_neighbours(queries, self.quantizer.centres.detach(), probes)
        values = queries.new_full((len(queries), probes, k), torch.inf)
        rows = torch.full_like(values, -1, dtype=torch.int64)
        for cell in chosen.unique().tolist():
            if not len(self.rows[cell]):
                continue
            query, probe = (chosen == cell).nonzero(as_tuple=True)
            cells = chosen[query, probe]
            local = queries[query] - self.quantizer.centres[cell].to(queries.dtype)
            entries = self.sums[cell].entries(rotated_by_cell(local, cells, self.quantizer.rotations))
            inside = self.sums[cell].nearest(entries, self.stored[cell], self.norms[cell], k)
            width = inside.rows.shape[1]
            values[query, probe, :width] = inside.distances.to(values.dtype)
            rows[query, probe, :width] = self.rows[cell][inside.rows]
        # In the order of rows, which is what decides between equal distances.
        order = rows.flatten(1).argsort(dim=1)
        values, rows = values.flatten(1).gather(1, order), rows.flatten(1).gather(1, order)
        values, nearest = values.sort(dim=1, stable=True)
        return Nearest(values[:, :k], rows.gather(1, nearest[:, :k]))
