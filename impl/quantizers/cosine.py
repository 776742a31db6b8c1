"""Vector quantization on the unit sphere: latents and codewords are directions, and these move by EMA."""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.base import Quantized
from impl.quantizers.vq_vae import VectorQuantizer


class DirectionAverage(nn.Module):
    """Moving average of directions: c_k <- n(g c_k + (1 - g) n(sum of the unit vectors that chose k)), n(x) = x / |x|.

    A code that nothing chose stays where it is.

    Args:
        directions: (K, D), unit vectors.
        decay: g in [0, 1).
    """

    directions: Tensor

    def __init__(self, directions: Tensor, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay = decay
        self.register_buffer("directions", directions.detach().clone())

    @torch.no_grad()
    def step(self, counts: Tensor, sums: Tensor) -> Tensor:
        """Take in the batch's counts (K,) and sums of unit vectors (K, D); return the new directions (K, D)."""
        moved = F.normalize(
            self.directions.lerp(F.normalize(sums.to(self.directions), dim=1), 1 - self.decay), dim=1
        )
        self.directions.copy_(torch.where(counts[:, None] > 0, moved, self.directions))
        return self.directions

    @torch.no_grad()
    def restart(self, directions: Tensor, where: Tensor | None = None) -> None:
        """Go on from other directions (K, D), for the codes `where` (K,) is True or for all."""
        where = (
            torch.ones(len(directions), dtype=torch.bool, device=directions.device)
            if where is None
            else where
        )
        self.directions.copy_(torch.where(where[:, None], directions.to(self.directions), self.directions))


class CosineVQ(VectorQuantizer):
    """The codeword of the smallest angle; latents are normalised first, and codewords have length one.

    Arguments are those of `VectorQuantizer`. The commitment is to the codeword of the normalised latent.
    """

    part_of: ClassVar[str] = "the shared part of tokenizers that compare directions (VQGraph, BEiT v2)"

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment_weight: float = 0.25,
        decay: float = 0.8,
        initialization: str = "kmeans",
        revival_threshold: float = 0.0,
    ) -> None:
        super().__init__(
            dim, codebook_size, "ema", commitment_weight, decay, initialization, revival_threshold
        )
        with torch.no_grad():
            self.codebook.copy_(F.normalize(torch.randn(codebook_size, dim), dim=1))
        self.average = DirectionAverage(self.codebook, decay)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 directions, started by k-means, with revival."""
        return cls(dim, 16, revival_threshold=0.1)

    def set_codebook(self, codewords: Tensor) -> None:
        """Replace the codewords by the directions of codewords (K, D)."""
        super().set_codebook(F.normalize(codewords, dim=-1))

    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Set the codebook to the directions of the k-means centroids of normalised vectors (N, D)."""
        return super().fit(F.normalize(vectors, dim=-1), iterations, seed)

    def similarities(self, vectors: Tensor) -> Tensor:
        """Return the cosine (..., K) of vectors (..., D) with every codeword, with the gradient to the vectors."""
        return F.normalize(vectors, dim=-1) @ self.codebook.detach().T

    def _quantize(self, vectors: Tensor) -> Quantized:
        return super()._quantize(F.normalize(vectors, dim=1))

    def _encode(self, vectors: Tensor) -> Tensor:
        return super()._encode(F.normalize(vectors, dim=1))
