"""Optimized product quantization: the cut into parts comes after a rotation that suits it.

Parts: product quantization (`pq`), principal axes and their allocation (`transforms`), Procrustes and the alternation
(`procrustes`); new is that the rotation is chosen for the product.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.procrustes import RotatedQuantizer, refine_product
from impl.quantizers.transforms import eigenvalue_allocation, principal_axes


class OptimizedProductQuantizer(RotatedQuantizer):
    """OPQ (ge2013optimized), parametric or not.

    The parametric solution is closed: principal axes, dealt to the parts so that the products of their variances
    balance, which is best for Gaussian vectors. The other starts from there and alternates product codes, codewords and
    rotation. Off Gaussian vectors the parametric one alone may be worse than no rotation.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        parametric: stop at the closed form.
        options: of the parts, for training inside an autoencoder.
    """

    def __init__(
        self, dim: int, codebook_size: int, num_codebooks: int, parametric: bool = False, **options: object
    ) -> None:
        super().__init__(ProductQuantizer(dim, codebook_size, num_codebooks, **options))
        self.parametric = parametric

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, update="ema", decay=0.9, initialization="kmeans")

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and codebooks from vectors (N, D)."""
        _, axes, variances = principal_axes(vectors)
        rotation = axes[:, eigenvalue_allocation(variances, len(self.inner.parts))]
        if self.parametric:
            self.inner.fit(vectors @ rotation, iterations, seed)
        else:
            # Few iterations suffice to begin with: the rotation still moves.
            self.inner.fit(vectors @ rotation, min(iterations, 5), seed)
            codebooks = torch.stack([part.codebook.detach().clone() for part in self.inner.parts])
            rotation = refine_product(codebooks, vectors, rotation, iterations)
            for part, codebook in zip(self.inner.parts, codebooks, strict=True):
                part.set_codebook(codebook)
        self.rotation.copy_(rotation)
