"""Projected residual VQ: every stage looks for its codeword in a few principal dimensions of the residual.

Parts: chains of quantizers (`residual`), principal axes (`transforms`), one table (`vq_vae`); new is the stage.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.residual import ResidualOfQuantizers
from impl.quantizers.tables import CodewordTables
from impl.quantizers.transforms import principal_axes
from impl.quantizers.vq_vae import VectorQuantizer


class ProjectedStage(Quantizer):
    """One stage: m + P c, with codewords c in p principal dimensions P of the vectors about their mean m.

    What lies outside the span is left to the next stage, so nothing is lost for good.

    Args:
        dim: D.
        codebook_size: K.
        projected_dim: p, at most D.
        options: of `VectorQuantizer`, which quantizes in the p dimensions.
    """

    part_of: ClassVar[str] = "prvq"

    basis: Tensor
    mean: Tensor

    def __init__(self, dim: int, codebook_size: int, projected_dim: int, **options: object) -> None:
        super().__init__()
        if positive_integer("projected_dim", projected_dim) > positive_integer("dim", dim):
            raise ValueError(f"projected_dim must be at most dim, got {projected_dim} and {dim}.")
        self.dim, self.codebook_sizes = dim, (codebook_size,)
        self.table = VectorQuantizer(projected_dim, codebook_size, **options)
        self.register_buffer("basis", torch.eye(dim)[:, :projected_dim].clone())
        self.register_buffer("mean", torch.zeros(dim))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return a stage of 8 codewords in half of the dimensions."""
        return cls(dim, 8, dim // 2, update="ema", decay=0.9, initialization="kmeans")

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Set mean, basis and codewords from vectors (N, D)."""
        vectors = self._training_vectors(vectors)
        mean, axes, _ = principal_axes(vectors)
        self.mean.copy_(mean)
        self.basis.copy_(axes[:, : self.table.dim])
        self.table.fit(self._projected(vectors), iterations, seed)
        return self

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords in all D dimensions, for `impl.search`."""
        return CodewordTables([self._lifted(self.table.codewords().detach())], [0])

    def _projected(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean.to(vectors.dtype)) @ self.basis.to(vectors.dtype)

    def _lifted(self, vectors: Tensor) -> Tensor:
        return vectors @ self.basis.T.to(vectors.dtype) + self.mean.to(vectors.dtype)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.table._encode(self._projected(vectors))

    def _decode(self, codes: Tensor) -> Tensor:
        return self._lifted(self.table._decode(codes))

    def _quantize(self, vectors: Tensor) -> Quantized:
        latents, codes, losses = self.table._quantize(self._projected(vectors))
        return Quantized(self._lifted(latents), codes, losses)


class ProjectedRVQ(ResidualOfQuantizers):
    """PRVQ (wei2014projected): residual quantization with comparisons of p numbers instead of D.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M, stages.
        projected_dim: p; with D it is residual quantization.
        options: of `VectorQuantizer`, for training inside an autoencoder.
    """

    def __init__(
        self, dim: int, codebook_size: int, num_codebooks: int, projected_dim: int, **options: object
    ) -> None:
        count = positive_integer("num_codebooks", num_codebooks)
        super().__init__([ProjectedStage(dim, codebook_size, projected_dim, **options) for _ in range(count)])

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords in half of the dimensions."""
        return cls(dim, 8, 3, dim // 2, update="ema", decay=0.9, initialization="kmeans")
