"""Product quantization: the latent is cut into M parts, each with a codebook of its own.

Parts: one VQ-VAE quantizer a part (`vq_vae`); what is new is the cut, which has its place in `product`.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.kmeans import kmeans_of_parts
from impl.quantizers.product import ProductOfQuantizers, part_width
from impl.quantizers.vq_vae import VectorQuantizer


class ProductQuantizer(ProductOfQuantizers):
    """Product quantization (jegou2011product), fitted by k-means or trained inside an autoencoder.

    M parts of D / M dimensions are quantized alone, so M codebooks of K codewords stand for K^M latents at
    the price of K D numbers. The squared error is the sum of the parts' errors. `fit` runs k-means in each
    subspace, as the paper does.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        **options: of `VectorQuantizer`, for every part.

    Raises:
        ValueError: M does not divide D.
    """

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, **options: object) -> None:
        positive_integer("dim", dim)
        width = part_width(dim, positive_integer("num_codebooks", num_codebooks))
        super().__init__([VectorQuantizer(width, codebook_size, **options) for _ in range(num_codebooks)])
        self.num_codebooks = num_codebooks

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Set each part's codebook to the k-means centroids of its dimensions of vectors (N, D).

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        parts = self._training_vectors(vectors).unflatten(1, (self.num_codebooks, -1))
        codebooks = kmeans_of_parts(parts, self.codebook_sizes[0], iterations, seed)
        for part, codebook in zip(self.parts, codebooks, strict=True):
            part.set_codebook(codebook)
        return self

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, update="ema", decay=0.9, initialization="kmeans")
