"""LOPQ: every cell of a coarse quantizer has an optimized product quantizer of its own.

Parts: coarse cells with frames (`cells`), principal axes and their allocation (`transforms`), k-means in parts
(`kmeans`, `product`); new is that rotation and codebooks are local.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import positive_integer
from impl.quantizers.cells import BLOCK, CoarseCells
from impl.quantizers.kmeans import kmeans_of_parts
from impl.quantizers.product import part_width
from impl.quantizers.tables import CodewordTables
from impl.quantizers.transforms import eigenvalue_allocation, principal_axes


class LocallyOptimizedPQ(CoarseCells):
    """Locally optimized product quantization, LOPQ (kalantidis2014locally).

    A cell's frame is OPQ's closed form for its residuals: principal axes, dealt to the parts in balance; with fewer
    vectors than dimensions it is the identity. The residuals' mean is part of the cell's centre. Sub-codebooks are each
    cell's own, as in the paper, or shared by all, as in its authors' library. With one cell this is OPQ in closed form;
    with identity frames and shared codebooks it is the residual product code of an inverted file.

    Args:
        dim: D.
        num_cells: V.
        codebook_size: K, of every part.
        num_codebooks: M, parts, a divisor of D.
        shared: one set of sub-codebooks for all cells.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        num_cells: int,
        codebook_size: int,
        num_codebooks: int,
        shared: bool = False,
        commitment_weight: float = 0.25,
    ) -> None:
        size, count = (
            positive_integer("codebook_size", codebook_size),
            positive_integer("num_codebooks", num_codebooks),
        )
        super().__init__(dim, num_cells, (size,) * count, commitment_weight)
        tables = 1 if shared else num_cells
        self.codebooks = nn.Parameter(torch.randn(tables, count, size, part_width(dim, count)) / dim)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 4 cells with two parts of 8 codewords each."""
        return cls(dim, 4, 8, 2)

    def learn_cells(self, residuals: Tensor, cells: Tensor, iterations: int, seed: int) -> None:
        """Set centres, frames and sub-codebooks from residuals (N, D) in cells (N,)."""
        members, count = [residuals[cells == cell] for cell in range(self.num_cells)], self.codebooks.shape[1]
        for cell, inside in enumerate(members):
            if not len(inside):
                continue
            mean, axes, variances = principal_axes(inside)
            if len(inside) >= self.dim:
                self.rotations[cell] = axes[:, eigenvalue_allocation(variances, count)]
            self.centres[cell] += mean
            members[cell] = (inside - mean) @ self.rotations[cell].to(inside.dtype)
        groups = [torch.cat(members)] if len(self.codebooks) == 1 else members
        for table, group in zip(self.codebooks, groups, strict=True):
            if len(group):
                table.copy_(
                    kmeans_of_parts(group.unflatten(1, (count, -1)), table.shape[1], iterations, seed)
                )

    def local_codes(self, local: Tensor, cells: Tensor) -> Tensor:
        """Return the codes (N, M) of local vectors (N, D), each in its own cell's sub-codebooks."""
        _, count, size, width = self.codebooks.shape
        halves = self.codebooks.detach().square().sum(dim=-1) / 2
        found, rows = [], max(1, BLOCK // (size * width * count))
        for part, own in zip(local.split(rows), cells.split(rows), strict=True):
            tables = own if len(self.codebooks) > 1 else torch.zeros_like(own)
            words = self.codebooks.detach()[tables].to(part.dtype)
            products = (words @ part.view(-1, count, width, 1))[..., 0]
            found.append((products - halves[tables].to(part.dtype)).argmax(dim=-1))
        return torch.cat(found) if found else cells.new_zeros(0, count)

    def local_vectors(self, codes: Tensor, cells: Tensor) -> Tensor:
        """Return the codewords (N, D) of codes (N, M), each of its own cell."""
        tables = cells if len(self.codebooks) > 1 else torch.zeros_like(cells)
        parts = torch.arange(codes.shape[1], device=codes.device)
        return self.codebooks[tables[:, None], parts, codes].flatten(1)

    def local_tables(self, cell: int) -> CodewordTables:
        """Return the sub-codebooks of one cell."""
        tables = self.codebooks.detach()[cell if len(self.codebooks) > 1 else 0]
        return CodewordTables(list(tables), [index * tables.shape[2] for index in range(len(tables))])
