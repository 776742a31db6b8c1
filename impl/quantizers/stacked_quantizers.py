"""Stacked quantizers: residual codebooks, refined together without losing their order.

Parts: sums of codewords and the residual start (`additive`), greedy codes (`beam`), centroids with refill of unused
codes (`kmeans`); what is new is the refinement that encodes again after every stage.
"""

from typing import Self

from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, left_by_others, residual_codebooks, sum_codewords
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.kmeans import recentred


class StackedQuantizers(AdditiveCodebooks):
    """Residual quantization with hierarchical refinement of the codebooks (martinez2014stacked).

    `fit` starts from residual k-means. One pass visits the stages in order: the stage's codewords become the means of
    what all other stages leave to it, and then it and the stages after it encode again, greedily. Encoding stays the
    greedy one of residual quantization, at M K D multiplications.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        passes: of the refinement; with 0 this is residual quantization.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        passes: int = 25,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.passes = positive_integer("passes", passes, least=0)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords."""
        return cls(dim, 8, 3, passes=5)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        codebooks = residual_codebooks(vectors, self.codebook_size, self.num_codebooks, iterations, seed)
        for _ in range(self.passes):
            refine(vectors, codebooks)
        self.codebooks.copy_(codebooks)


def refine(vectors: Tensor, codebooks: Tensor) -> None:
    """Run one pass over codebooks (M, K, D), in place, on vectors (N, D)."""
    codes = greedy_codes(vectors, codebooks)
    for index in range(len(codebooks)):
        targets = left_by_others(vectors, codebooks, codes, index)
        codebooks[index] = recentred(targets, codes[:, index], codebooks[index])
        # The later stages must see the residuals of the new codewords, or their next update would raise the error.
        residual = vectors - sum_codewords(codebooks[:index], codes[:, :index])
        codes[:, index:] = greedy_codes(residual, codebooks[index:])
