"""RVQ-P and RVQ-NP: OPQ's two rotations brought to residual quantization, whose stages are products.

Parts: chains of quantizers (`residual`), OPQ's closed form (`opq`), product quantization (`pq`), Procrustes
(`procrustes`). A full-width stage does not mind rotation, so the stages here are small products.
"""

from typing import ClassVar, Self

from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.procrustes import RotatedQuantizer, procrustes
from impl.quantizers.residual import ResidualOfQuantizers


class RotatedRVQ(RotatedQuantizer):
    """RVQ-NP (guo2016parametric): one rotation before L residual stages of P parts, learned together with them.

    A round fits the stages to the rotated vectors, warm where they stand, and sets the rotation by Procrustes against
    what they decode to.

    Args:
        dim: D.
        codebook_size: K, of every part of every stage.
        num_stages: L.
        num_parts: P, a divisor of D; with 1 the rotation changes nothing.
        rounds: of the alternation; each refits the stages.
        options: of the parts, for training inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_stages: int,
        num_parts: int,
        rounds: int = 4,
        **options: object,
    ) -> None:
        positive_integer("num_stages", num_stages)
        stages = [ProductQuantizer(dim, codebook_size, num_parts, **options) for _ in range(num_stages)]
        super().__init__(ResidualOfQuantizers(stages))
        self.rounds = positive_integer("rounds", rounds, least=0)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two stages of two parts of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, 2, rounds=2, update="ema", decay=0.9, initialization="kmeans")

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and codebooks from vectors (N, D); the rotation starts at OPQ's closed form."""
        start = OptimizedProductQuantizer(self.dim, 2, len(self.inner.stages[0].parts), parametric=True)
        rotation = start.fit(vectors, 1, seed).rotation.to(vectors)
        for _ in range(self.rounds):
            self.inner.fit(vectors @ rotation, iterations, seed)
            codes = self.inner._encode(vectors @ rotation)
            rotation = procrustes(vectors, self.inner._decode(codes).to(vectors.dtype))
        self.inner.fit(vectors @ rotation, iterations, seed)
        self.rotation.copy_(rotation)


class ParametricRVQ(ResidualOfQuantizers):
    """RVQ-P (guo2016parametric): every stage is a product after the closed-form rotation of its own residuals.

    Args:
        dim: D.
        codebook_size: K, of every part of every stage.
        num_stages: L.
        num_parts: P, a divisor of D.
        options: of the parts, for training inside an autoencoder.
    """

    part_of: ClassVar[str] = "rvq-p-np"

    def __init__(
        self, dim: int, codebook_size: int, num_stages: int, num_parts: int, **options: object
    ) -> None:
        positive_integer("num_stages", num_stages)
        shape = (dim, codebook_size, num_parts)
        super().__init__(
            [OptimizedProductQuantizer(*shape, parametric=True, **options) for _ in range(num_stages)]
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two stages of two parts of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, 2, update="ema", decay=0.9, initialization="kmeans")
