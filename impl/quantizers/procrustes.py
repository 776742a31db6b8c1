"""The best rotation in closed form, and quantizers that work in a rotated space."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, Quantizer
from impl.quantizers.tables import CodewordTables


def procrustes(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the orthogonal R (D, D) that minimises |X R - Y|^2: U V' of the decomposition U S V' = X' Y.

    In float64: the singular vectors of small singular values need it.

    Args:
        vectors: X, (N, D).
        targets: Y, (N, D).
    """
    return best_rotation(vectors.double().T @ targets.double()).to(vectors.dtype)


def best_rotation(correlation: Tensor) -> Tensor:
    """Return the orthogonal R (D, D) that maximises tr(R' A), by which X R is nearest to Y where A = X' Y.

    Args:
        correlation: A, (D, D).
    """
    left, _, right = torch.linalg.svd(correlation)
    return left @ right


class RotatedQuantizer(Quantizer):
    """A quantizer of x R, for an orthogonal R and any quantizer inside; a method says how `fit` finds both.

    Latents and codewords keep their lengths under R, so errors and gradients are those of the inner quantizer.

    Args:
        inner: quantizes the rotated latents.
    """

    part_of: ClassVar[str] = "the shared part of quantizers that rotate their latents first"

    rotation: Tensor

    def __init__(self, inner: Quantizer) -> None:
        super().__init__()
        self.inner, self.dim, self.codebook_sizes = inner, inner.dim, inner.codebook_sizes
        self.register_buffer("rotation", torch.eye(inner.dim))

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Learn rotation and codebooks from vectors (N, D).

        Args:
            vectors: (N, D), at least one.
            iterations: of the method's outer loop, and of each k-means in it.
            seed: of every random choice.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        self.learn(vectors, iterations, seed)
        return self

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and codebooks from vectors (N, D)."""
        raise NotImplementedError

    def rotated(self, vectors: Tensor) -> Tensor:
        """Return x R of vectors (N, D)."""
        return vectors @ self.rotation.to(vectors.dtype)

    def codeword_tables(self) -> CodewordTables:
        """Return the inner codewords with the rotation before them, for `impl.search`."""
        return self.inner.codeword_tables()._replace(rotation=self.rotation)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.inner._encode(self.rotated(vectors))

    def _decode(self, codes: Tensor) -> Tensor:
        decoded = self.inner._decode(codes)
        return decoded @ self.rotation.T.to(decoded.dtype)

    def _quantize(self, vectors: Tensor) -> Quantized:
        latents, codes, losses = self.inner._quantize(self.rotated(vectors))
        return Quantized(latents @ self.rotation.T.to(latents.dtype), codes, losses)


def refine_product(codebooks: Tensor, vectors: Tensor, rotation: Tensor, rounds: int) -> Tensor:
    """Alternate codes, codewords and rotation of a product, each the best for the others; the error never rises.

    Args:
        codebooks: (M, K, D / M), changed in place.
        vectors: (N, D), not rotated.
        rotation: (D, D) to begin with.
        rounds: of all three.

    Returns:
        The rotation (D, D).
    """
    from impl.quantizers.kmeans import recentred
    from impl.quantizers.product import nearest_in_parts, take_codewords

    for _ in range(rounds):
        parts = (vectors @ rotation).unflatten(1, codebooks.shape[::2])
        codes = nearest_in_parts(parts, codebooks)
        for part, column, codebook in zip(parts.unbind(1), codes.unbind(1), codebooks, strict=True):
            codebook.copy_(recentred(part, column, codebook))
        rotation = procrustes(vectors, take_codewords(codebooks, codes))
    return rotation
