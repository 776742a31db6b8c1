"""Additive product quantization: additive codes in each of a few parts of a rotated space.

Parts: additive quantization (`additive_quantization`), a product of quantizers (`product`) behind a rotation
(`procrustes`), principal axes dealt to the parts (`transforms`); what is new is that all three are fitted together.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.quantizers.additive import product_codebooks
from impl.quantizers.additive_quantization import AdditiveQuantizer
from impl.quantizers.alternating import RIDGE
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.least_squares import least_squares_codebooks
from impl.quantizers.procrustes import RotatedQuantizer, procrustes
from impl.quantizers.product import ProductOfQuantizers
from impl.quantizers.transforms import eigenvalue_allocation, principal_axes


class AdditiveProductQuantizer(RotatedQuantizer):
    """Additive product quantization, APQ (babenko2014additive).

    The beam of additive quantization gets slow with many codebooks. Here they are dealt to a few parts of a rotated
    space, and codes are additive within a part. `fit` starts from principal axes, dealt to the parts so that the
    products of their variances balance, and alternates codes, codebooks and rotation.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M, of all parts together.
        parts: a divisor of D and of M; with M parts this is a product.
        width: of the beam.

    Raises:
        ValueError: parts do not divide D and M.
    """

    part_of: ClassVar[str] = "additive-quantization"

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, parts: int, width: int = 16) -> None:
        positive_integer("parts", parts)
        if dim % parts or num_codebooks % parts:
            raise ValueError(f"parts must divide dim {dim} and num_codebooks {num_codebooks}, got {parts}.")
        sizes = (dim // parts, codebook_size, num_codebooks // parts, width)
        super().__init__(ProductOfQuantizers([AdditiveQuantizer(*sizes) for _ in range(parts)]))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of two codebooks of 8 codewords."""
        return cls(dim, 8, 4, 2, width=4)

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation and codebooks from vectors (N, D)."""
        parts = self.inner.parts
        _, axes, variances = principal_axes(vectors)
        rotation = axes[:, eigenvalue_allocation(variances, len(parts))]
        slices = (vectors @ rotation).chunk(len(parts), dim=1)
        codes = []
        for part, slice_ in zip(parts, slices, strict=True):
            given = slice_.contiguous()
            part.codebooks.copy_(
                product_codebooks(given, part.codebook_size, part.num_codebooks, iterations, seed)
            )
            codes.append(greedy_codes(given, part.codebooks))
        for step in range(iterations):
            slices = (vectors @ rotation).chunk(len(parts), dim=1)
            for index, (part, slice_) in enumerate(zip(parts, slices, strict=True)):
                given = slice_.contiguous()
                part.codebooks.copy_(
                    least_squares_codebooks(
                        given, codes[index], part.codebook_size, RIDGE, toward=part.codebooks
                    )
                )
                codes[index] = part.improved_codes(given, part.codebooks, codes[index], seed + step)
            rotation = procrustes(vectors, self.inner._decode(torch.cat(codes, dim=1)))
        self.rotation.copy_(rotation)
