"""The rotation trick: a gradient that turns with the latent instead of passing unchanged.

Parts: all of VQ-VAE's quantizer (`vq_vae`) but its gradient path, which is `rotate` (`gradients`).
"""

from typing import Self

from torch import Tensor

from impl.quantizers.gradients import rotate
from impl.quantizers.vq_vae import VectorQuantizer


class RotationTrickVQ(VectorQuantizer):
    """VQ-VAE's quantizer with the gradient of the rotation trick (fifty2025restructuring).

    The decoder sees the codeword, as ever. Its gradient is rotated and scaled by the map that takes the latent to its
    codeword, so latents of one cell get different gradients: those that pull towards the codeword push latents
    together, those that push away from it spread them, and more codes come into use. Codes, losses and codebook updates
    of a step are those of `VectorQuantizer`.
    """

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords that move by their own loss."""
        return cls(dim, 16)

    def carry(self, vectors: Tensor, codewords: Tensor) -> Tensor:
        """Return the codewords (N, D) with the rotated gradient path to vectors (N, D)."""
        return rotate(vectors, codewords)
