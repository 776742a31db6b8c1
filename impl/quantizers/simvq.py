"""SimVQ: a frozen random table seen through one trainable linear layer.

Parts: nearest codeword, straight-through gradient, both losses of VQ-VAE (`nearest`), the frozen table and its layer
(`projected`); what is new is that the table is random.
"""

from typing import Self

import torch

from impl.quantizers.base import positive_integer
from impl.quantizers.projected import ProjectedCodebook


class SimVQ(ProjectedCodebook):
    """Vector quantization with a linearly reparameterised codebook (zhu2024addressing).

    The table is C W' + b with C (K, D) drawn once from N(0, 1/D) and frozen. One selected code moves W, and W moves all
    codes: the space that the codebook spans is trained, not single vectors, so codes that nothing chooses go along
    with the data and do not die.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta.
    """

    def __init__(self, dim: int, codebook_size: int, commitment_weight: float = 0.25) -> None:
        positive_integer("dim", dim)
        positive_integer("codebook_size", codebook_size)
        super().__init__(dim, torch.randn(codebook_size, dim) / dim**0.5, commitment_weight)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)
