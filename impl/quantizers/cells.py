"""The shared part of quantizers with a coarse table whose cells have frames of their own."""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.gradients import straight_through
from impl.quantizers.kmeans import kmeans
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.tables import CodewordTables

#: Numbers of the gathered rotations that are held at once.
BLOCK = 2**22


class CoarseCells(Quantizer):
    """x^ = c_i + y R_i': the nearest of V coarse centres, then y, a code of the residual in the frame of its cell.

    A method says how the frames and the codes of local vectors are found (`learn_cells`, `local_codes`,
    `local_vectors`). `rotations` holds the frame R_i of every cell, `centres` the c_i.

    Args:
        dim: D.
        num_cells: V.
        local_sizes: codebook sizes of the local codes.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "the shared part of quantizers with coarse cells and a frame in each"

    rotations: Tensor

    def __init__(
        self, dim: int, num_cells: int, local_sizes: tuple[int, ...], commitment_weight: float = 0.25
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.num_cells = positive_integer("num_cells", num_cells)
        self.codebook_sizes = (num_cells, *local_sizes)
        self.commitment_weight = commitment_weight
        self.centres = nn.Parameter(torch.randn(num_cells, dim) / dim**0.5)
        self.register_buffer("rotations", torch.eye(dim).repeat(num_cells, 1, 1))

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Learn centres by k-means, then frames and local codebooks, from vectors (N, D).

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        self.centres.copy_(kmeans(vectors, self.num_cells, iterations, seed))
        cells = self.cells(vectors)
        self.learn_cells(vectors - self.centres[cells].to(vectors.dtype), cells, iterations, seed)
        return self

    def learn_cells(self, residuals: Tensor, cells: Tensor, iterations: int, seed: int) -> None:
        """Set frames and local codebooks from residuals (N, D) in cells (N,)."""
        raise NotImplementedError

    def local_codes(self, local: Tensor, cells: Tensor) -> Tensor:
        """Return the codes (N, m) of local vectors (N, D) in cells (N,)."""
        raise NotImplementedError

    def local_vectors(self, codes: Tensor, cells: Tensor) -> Tensor:
        """Return the local vectors (N, D) that codes (N, m) stand for in cells (N,)."""
        raise NotImplementedError

    def local_tables(self, cell: int) -> CodewordTables:
        """Return the tables that local codes of one cell decode with, for `impl.inverted_file`."""
        raise NotImplementedError

    def cells(self, vectors: Tensor) -> Tensor:
        """Return the cell (N,) of vectors (N, D)."""
        return nearest_codes(vectors, self.centres.detach())

    def local(self, vectors: Tensor, cells: Tensor) -> Tensor:
        """Return (x - c_i) R_i of vectors (N, D) in the frames of cells (N,)."""
        return rotated_by_cell(vectors - self.centres[cells].to(vectors.dtype), cells, self.rotations)

    def _encode(self, vectors: Tensor) -> Tensor:
        cells = self.cells(vectors)
        codes = self.local_codes(self.local(vectors, cells).detach(), cells)
        return torch.cat([cells[:, None], codes], dim=1)

    def _decode(self, codes: Tensor) -> Tensor:
        cells = codes[:, 0]
        local = self.local_vectors(codes[:, 1:], cells)
        return self.centres[cells] + rotated_by_cell(local, cells, self.rotations.transpose(1, 2))

    def _quantize(self, vectors: Tensor) -> Quantized:
        codes = self._encode(vectors.detach())
        decoded = self._decode(codes).to(vectors.dtype)
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - decoded.detach()),
            "codebook": mean_square(vectors.detach() - decoded),
        }
        return Quantized(straight_through(vectors, decoded), codes, losses)


def rotated_by_cell(vectors: Tensor, cells: Tensor, rotations: Tensor) -> Tensor:
    """Return x R_i of vectors (N, D), R_i of rotations (V, D, D) that of the vector's own cell (N,)."""
    if not len(vectors):
        return vectors
    rows = max(1, BLOCK // vectors.shape[1] ** 2)
    blocks = zip(vectors.split(rows), cells.split(rows), strict=True)
    return torch.cat([(part[:, None] @ rotations[own].to(part.dtype))[:, 0] for part, own in blocks])
