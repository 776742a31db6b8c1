"""The shared part of quantizers that choose the nearest codeword of one table, whatever makes the table."""

from typing import ClassVar

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.gradients import straight_through
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.tables import CodewordTables


class NearestCodeword(Quantizer):
    """Assignment to the nearest codeword, straight-through gradient, commitment and codebook losses.

    A method says what its table is (`codewords`), and changes one part if that is its idea: the gradient path
    (`carry`), the losses (`losses`), what nearest means (`assign`), what a training step does before (`initialize`) or
    after (`learn`).

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta, on the encoder's term and on it alone.
    """

    part_of: ClassVar[str] = "the shared part of quantizers that choose the nearest codeword"

    def __init__(self, dim: int, codebook_size: int, commitment_weight: float = 0.25) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        self.commitment_weight = commitment_weight

    def codewords(self) -> Tensor:
        """Return the table (K, D), with a gradient to whatever it is made of."""
        raise NotImplementedError

    def codeword_tables(self) -> CodewordTables:
        """Return the one table, for `impl.search`."""
        return CodewordTables([self.codewords().detach()], [0])

    def carry(self, vectors: Tensor, codewords: Tensor) -> Tensor:
        """Return the codewords (N, D) with a gradient path to vectors (N, D): straight-through."""
        return straight_through(vectors, codewords)

    def losses(self, vectors: Tensor, codewords: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of vectors (N, D) that were given codewords (N, D)."""
        return {
            "commitment": self.commitment_weight * mean_square(vectors - codewords.detach()),
            "codebook": mean_square(vectors.detach() - codewords),
        }

    def assign(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Return the codes (N,), int64, of vectors (N, D) for a table (K, D), both without gradient: Euclidean."""
        return nearest_codes(vectors, table)

    def initialize(self, vectors: Tensor) -> None:
        """Prepare the table from a training batch (N, D) before it is searched; nothing by default."""

    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Change the table after a training batch (N, D) that chose codes (N,); nothing by default."""

    def _quantize(self, vectors: Tensor) -> Quantized:
        self.initialize(vectors)
        table = self.codewords()
        codes = self.assign(vectors.detach(), table.detach())
        codewords = table[codes].to(vectors.dtype)
        latents = self.carry(vectors, codewords)
        quantized = Quantized(latents, codes[:, None], self.losses(vectors, codewords))
        if self.training:
            self.learn(vectors.detach(), codes)
        return quantized

    @torch.no_grad()
    def _encode(self, vectors: Tensor) -> Tensor:
        return self.assign(vectors, self.codewords())[:, None]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codewords()[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
