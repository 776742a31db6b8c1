"""Cartesian k-means: centres that are all combinations of sub-centres, in a space that is rotated to suit them.

Parts: product quantization (`pq`), Procrustes and the alternation (`procrustes`); the binary case writes its own.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer, mean_square
from impl.quantizers.gradients import straight_through
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.procrustes import RotatedQuantizer, procrustes, refine_product


class CartesianKMeans(RotatedQuantizer):
    """Cartesian k-means, ck-means (norouzi2013cartesian): |X - D B R'|^2 over rotation R, sub-centres D and codes B.

    The objective is that of optimized product quantization; it starts from no rotation and takes one step of each in
    turn.

    Args:
        dim: D.
        codebook_size: K sub-centres in each part.
        num_codebooks: M, a divisor of D.
        options: of the parts, for training inside an autoencoder.
    """

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, **options: object) -> None:
        super().__init__(ProductQuantizer(dim, codebook_size, num_codebooks, **options))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 sub-centres, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, update="ema", decay=0.9, initialization="kmeans")

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and sub-centres from vectors (N, D)."""
        self.inner.fit(vectors, 1, seed)
        codebooks = torch.stack([part.codebook.detach().clone() for part in self.inner.parts])
        rotation = torch.eye(self.dim, dtype=vectors.dtype, device=vectors.device)
        self.rotation.copy_(refine_product(codebooks, vectors, rotation, iterations))
        for part, codebook in zip(self.inner.parts, codebooks, strict=True):
            part.set_codebook(codebook)


class OrthogonalKMeans(Quantizer):
    """ok-means (norouzi2013cartesian), the binary case: codes are signs of x R - m, each axis has a scale.

    One bit an axis, D bits a vector. With equal scales and a fixed mean it is iterative quantization (ITQ).

    Args:
        dim: D.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "cartesian-k-means"

    rotation: Tensor

    def __init__(self, dim: int, commitment_weight: float = 0.25) -> None:
        super().__init__()
        self.dim, self.codebook_sizes, self.commitment_weight = dim, (2,) * dim, commitment_weight
        self.register_buffer("rotation", torch.eye(dim))
        self.mean = torch.nn.Parameter(torch.zeros(dim))
        self.scale = torch.nn.Parameter(torch.ones(dim))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return one bit for each of `dim` axes."""
        return cls(dim)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Learn rotation, mean and scales from vectors (N, D); `seed` draws the first rotation.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        generator = torch.Generator().manual_seed(seed)
        draw = torch.randn(self.dim, self.dim, dtype=torch.float64, generator=generator)
        rotation = torch.linalg.qr(draw)[0].to(vectors)
        mean = vectors.mean(dim=0)
        for _ in range(iterations):
            rotated = (vectors - mean) @ rotation
            signs = torch.where(rotated >= 0, 1.0, -1.0).to(vectors)
            scale = (signs * rotated).mean(dim=0)
            mean = (vectors - signs * scale @ rotation.T).mean(dim=0)
            rotation = procrustes(vectors - mean, signs * scale)
        self.rotation.copy_(rotation)
        self.mean.copy_(mean)
        self.scale.copy_((vectors - mean).matmul(rotation).abs().mean(dim=0))
        return self

    def _encode(self, vectors: Tensor) -> Tensor:
        rotated = (vectors - self.mean.to(vectors.dtype)) @ self.rotation.to(vectors.dtype)
        # The nearer of +s and -s is the one of the value's sign, and of the other one where s is negative.
        return (rotated * self.scale.sign().to(vectors.dtype) >= 0).long()

    def _decode(self, codes: Tensor) -> Tensor:
        return (2 * codes - 1) * self.scale @ self.rotation.T + self.mean

    def _quantize(self, vectors: Tensor) -> Quantized:
        codes = self._encode(vectors.detach())
        decoded = self._decode(codes).to(vectors.dtype)
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - decoded.detach()),
            "codebook": mean_square(vectors.detach() - decoded),
        }
        return Quantized(straight_through(vectors, decoded), codes, losses)
