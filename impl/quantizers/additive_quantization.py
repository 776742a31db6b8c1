"""Additive quantization: codebooks without order or orthogonality, all learned at once.

Parts: the loop of least squares and search (`alternating`), the beam that takes codebooks in any order
(`any_order_beam`); what is new is that the two go together.
"""

from typing import Self

from torch import Tensor

from impl.quantizers.alternating import AlternatingCodebooks
from impl.quantizers.any_order_beam import any_order_beam
from impl.quantizers.base import positive_integer


class AdditiveQuantizer(AlternatingCodebooks):
    """Additive quantization, AQ (babenko2014additive).

    The vector is a sum of one codeword from each of M codebooks of full width. Given codes, all codebooks together are
    a linear least-squares problem. Given codebooks, the best codes are a hard problem in which all pairs of codes
    interact; a beam search over all codebooks not used yet approximates them.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        width: partial sums kept in encoding; the paper takes 16 in training and 64 after it.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        width: int = 16,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.width = positive_integer("width", width)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords and a beam of 4."""
        return cls(dim, 8, 3, width=4)

    def improved_codes(self, vectors: Tensor, codebooks: Tensor, codes: Tensor, seed: int) -> Tensor:
        """Return codes (N, M) of vectors (N, D) by beam search; those for the old codebooks play no part."""
        return any_order_beam(vectors, codebooks, self.width)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D) by beam search."""
        return any_order_beam(vectors, self.codebooks.detach(), self.width)
