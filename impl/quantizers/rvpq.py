"""Residual vector product quantization: residual codebooks in each subspace, learned together.

Parts: a product (`product`) of sums of codewords (`additive`), beam search (`beam`), codebooks by least squares
(`least_squares`); what is new is the structure between product and residual quantization, and its joint training.
"""

from typing import ClassVar, Self

from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, residual_codebooks
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import beam_codes
from impl.quantizers.least_squares import least_squares_codebooks
from impl.quantizers.product import ProductOfQuantizers, part_width


class JointResidualQuantizer(AdditiveCodebooks):
    """One subspace: residual codebooks that are refitted together.

    `fit` starts from residual k-means. A pass encodes all vectors by beam search and then sets all codebooks at once to
    the least-squares solution for these codes.

    Args:
        dim: D.
        codebook_size: K, the same for each layer.
        num_codebooks: L, layers.
        width: partial sums kept in encoding.
        passes: of the joint training; with 0 this is residual quantization with a beam.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "rvpq"

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        width: int = 8,
        passes: int = 10,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.width = positive_integer("width", width)
        self.passes = positive_integer("passes", passes, least=0)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        codebooks = residual_codebooks(vectors, self.codebook_size, self.num_codebooks, iterations, seed)
        for _ in range(self.passes):
            codes = beam_codes(vectors, codebooks, self.width)
            codebooks = least_squares_codebooks(vectors, codes, self.codebook_size, toward=codebooks)
        self.codebooks.copy_(codebooks)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, L) of vectors (N, D) by beam search."""
        return beam_codes(vectors, self.codebooks.detach(), self.width)


class ResidualVectorProductQuantizer(ProductOfQuantizers):
    """Residual vector product quantization, RVPQ (niu2023residual).

    The latent is cut into P parts, and each part is the sum of L codewords, one of each layer: P L codes of K values.
    One layer is product quantization, one part is residual quantization. The layers of a part are trained together, and
    vectors are encoded by beam search, for each part alone, where a beam is cheap.

    Args:
        dim: D.
        codebook_size: K.
        num_parts: P, a divisor of D.
        num_layers: L.
        width: partial sums kept in encoding.
        passes: of the joint training.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, or P does not divide D.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_parts: int,
        num_layers: int,
        width: int = 8,
        passes: int = 10,
        commitment_weight: float = 0.25,
    ) -> None:
        positive_integer("dim", dim)
        own = part_width(dim, positive_integer("num_parts", num_parts))
        super().__init__(
            [
                JointResidualQuantizer(own, codebook_size, num_layers, width, passes, commitment_weight)
                for _ in range(num_parts)
            ]
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of two layers of 8 codewords and a beam of 4."""
        return cls(dim, 8, 2, 2, width=4, passes=3)
