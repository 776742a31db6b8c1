"""Improved residual VQ: codebooks grown on principal axes, codes by beam search.

Parts: sums of codewords (`additive`), k-means on growing subspaces (`subspace_growth`), beam search (`beam`); what is
new is that the two go together, the first against poor late codebooks, the second against greedy codes.
"""

from typing import Self

from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import beam_codes
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.subspace_growth import grown_codewords


class ImprovedRVQ(AdditiveCodebooks):
    """Improved residual vector quantization, IRVQ (liu2015improved).

    `fit` learns the stages one after the other on the residuals that greedy codes leave, each by k-means on a growing
    number of the residuals' principal axes. Encoding keeps the `width` best partial sums after each stage.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        width: partial sums kept in encoding; with 1 codes are greedy.
        growth_steps: widths on which each stage's k-means runs; with 1 and width 1 this is residual quantization.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        width: int = 10,
        growth_steps: int = 5,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.width = positive_integer("width", width)
        self.growth_steps = positive_integer("growth_steps", growth_steps)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords and a beam of 4."""
        return cls(dim, 8, 3, width=4, growth_steps=2)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        residual = vectors
        for codebook in self.codebooks:
            codewords = grown_codewords(residual, self.codebook_size, self.growth_steps, iterations, seed)
            codebook.copy_(codewords)
            residual = residual - codewords[nearest_codes(residual, codewords)]

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D) by beam search."""
        return beam_codes(vectors, self.codebooks.detach(), self.width)
