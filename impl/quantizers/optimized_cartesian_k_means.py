"""Optimized Cartesian k-means: in a rotated space, every part is the sum of several sub-codewords.

Parts: parts of sums with joint codebooks and beam search (`rvpq`), Procrustes (`procrustes`); new is that the rotation
alternates with them.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.beam import beam_codes
from impl.quantizers.least_squares import least_squares_codebooks
from impl.quantizers.procrustes import RotatedQuantizer, procrustes
from impl.quantizers.rvpq import ResidualVectorProductQuantizer


class OptimizedCartesianKMeans(RotatedQuantizer):
    """OCKM (wang2015optimized): |X - D B R'|^2 with C codewords added up in each of P parts.

    `fit` starts from residual codebooks in the parts and no rotation. A round sets the codes by a beam over partial
    sums, the codebooks of each part at once by least squares, and the rotation by Procrustes. With C = 1 it is
    Cartesian k-means, with P = 1 additive quantization.

    Args:
        dim: D.
        codebook_size: K.
        num_parts: P, a divisor of D.
        num_layers: C.
        width: partial sums kept in encoding.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_parts: int,
        num_layers: int,
        width: int = 8,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(
            ResidualVectorProductQuantizer(
                dim,
                codebook_size,
                num_parts,
                num_layers,
                width,
                passes=0,
                commitment_weight=commitment_weight,
            )
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of two layers of 8 codewords and a beam of 4."""
        return cls(dim, 8, 2, 2, width=4)

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and codebooks from vectors (N, D)."""
        self.inner.fit(vectors, iterations, seed)
        rotation = torch.eye(self.dim, dtype=vectors.dtype, device=vectors.device)
        for _ in range(iterations):
            rotation = self._round(vectors, rotation)
        self.rotation.copy_(rotation)

    def _round(self, vectors: Tensor, rotation: Tensor) -> Tensor:
        decoded = []
        for part, slice_ in zip(self.inner.parts, self.inner._slices(vectors @ rotation), strict=True):
            slice_ = slice_.contiguous()
            codes = beam_codes(slice_, part.codebooks, part.width)
            fitted = least_squares_codebooks(
                slice_, codes, part.codebook_size, toward=part.codebooks.detach()
            )
            part.codebooks.copy_(fitted)
            decoded.append(part._decode(codes))
        return procrustes(vectors, torch.cat(decoded, dim=1))
