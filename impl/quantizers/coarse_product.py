"""The code of an inverted file: the nearest of V coarse centres, then a product code of the residual.

Parts: coarse cells (`cells`), product quantizer (`pq`).
"""

from typing import ClassVar, Self

from torch import Tensor

from impl.quantizers.cells import CoarseCells
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.tables import CodewordTables


class CoarseProductQuantizer(CoarseCells):
    """The residual code of IVFADC (jegou2011product): all cells share one product quantizer, and no cell is turned.

    Args:
        dim: D.
        num_cells: V.
        codebook_size: K, of every part.
        num_codebooks: M, parts, a divisor of D.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "pq"

    def __init__(
        self,
        dim: int,
        num_cells: int,
        codebook_size: int,
        num_codebooks: int,
        commitment_weight: float = 0.25,
    ) -> None:
        product = ProductQuantizer(dim, codebook_size, num_codebooks)
        super().__init__(dim, num_cells, product.codebook_sizes, commitment_weight)
        self.product = product

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 4 cells and two parts of 8 codewords."""
        return cls(dim, 4, 8, 2)

    def learn_cells(self, residuals: Tensor, cells: Tensor, iterations: int, seed: int) -> None:
        """Fit the product quantizer to residuals (N, D) of all cells."""
        self.product.fit(residuals, iterations, seed)

    def local_codes(self, local: Tensor, cells: Tensor) -> Tensor:
        """Return the product codes (N, M) of residuals (N, D)."""
        return self.product.encode(local)

    def local_vectors(self, codes: Tensor, cells: Tensor) -> Tensor:
        """Return the residuals (N, D) that product codes (N, M) stand for."""
        return self.product.decode(codes)

    def local_tables(self, cell: int) -> CodewordTables:
        """Return the shared tables."""
        return self.product.codeword_tables()
