"""TRQ: residuals of different cells are turned until one codebook suits them all.

Parts: coarse cells with frames (`cells`), k-means, Procrustes (`procrustes`); new is the alignment.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import positive_integer
from impl.quantizers.cells import CoarseCells, rotated_by_cell
from impl.quantizers.kmeans import kmeans, recentred
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.procrustes import procrustes
from impl.quantizers.tables import CodewordTables


class TransformedRVQ(CoarseCells):
    """Transformed residual quantization, TRQ (yuan2015transformed).

    Two levels, the second with one codebook for all cells of the first. Iterative alignment quantizes the turned
    residuals, recentres the codebook, and turns each cell's residuals to its codewords by Procrustes. A cell with fewer
    vectors than dimensions keeps the identity, for its rotation would fit noise. With all rotations the identity this
    is residual quantization of two stages.

    Args:
        dim: D.
        num_cells: V, codewords of the first level.
        codebook_size: K, of the second.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(self, dim: int, num_cells: int, codebook_size: int, commitment_weight: float = 0.25) -> None:
        size = positive_integer("codebook_size", codebook_size)
        super().__init__(dim, num_cells, (size,), commitment_weight)
        self.codebook = nn.Parameter(torch.randn(size, dim) / dim)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 4 cells and 8 shared codewords."""
        return cls(dim, 4, 8)

    def learn_cells(self, residuals: Tensor, cells: Tensor, iterations: int, seed: int) -> None:
        """Align the cells' residuals (N, D) to one codebook."""
        codebook = kmeans(residuals, len(self.codebook), iterations, seed)
        rotations = torch.eye(self.dim).to(residuals).repeat(self.num_cells, 1, 1)
        for _ in range(iterations):
            turned = rotated_by_cell(residuals, cells, rotations)
            codes = nearest_codes(turned, codebook)
            codebook = recentred(turned, codes, codebook)
            for cell in range(self.num_cells):
                inside = cells == cell
                if int(inside.sum()) >= self.dim:
                    rotations[cell] = procrustes(residuals[inside], codebook[codes[inside]])
        self.codebook.copy_(codebook)
        self.rotations.copy_(rotations)

    def local_codes(self, local: Tensor, cells: Tensor) -> Tensor:
        """Return the codes (N, 1) of turned residuals (N, D)."""
        return nearest_codes(local, self.codebook.detach())[:, None]

    def local_vectors(self, codes: Tensor, cells: Tensor) -> Tensor:
        """Return the shared codewords (N, D) of codes (N, 1)."""
        return self.codebook[codes[:, 0]]

    def local_tables(self, cell: int) -> CodewordTables:
        """Return the shared codebook."""
        return CodewordTables([self.codebook.detach()], [0])
