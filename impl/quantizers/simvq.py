"""SimVQ: a frozen random table seen through one trainable linear layer.

Parts: nearest codeword, straight-through gradient, both losses of VQ-VAE (`nearest`); what is new is what the table
is made of.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.nearest import NearestCodeword


class SimVQ(NearestCodeword):
    """Vector quantization with a linearly reparameterised codebook (zhu2024addressing).

    The table is C W' + b with C (K, D) drawn once from N(0, 1/D) and frozen. One selected code moves W, and W moves all
    codes: the space that the codebook spans is trained, not single vectors, so codes that nothing chooses go along
    with the data and do not die.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta.
    """

    frozen: Tensor

    def __init__(self, dim: int, codebook_size: int, commitment_weight: float = 0.25) -> None:
        super().__init__(dim, codebook_size, commitment_weight)
        self.register_buffer("frozen", torch.randn(codebook_size, dim) / dim**0.5)
        self.projection = nn.Linear(dim, dim)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    def codewords(self) -> Tensor:
        """Return the frozen table (K, D) through the linear layer."""
        return self.projection(self.frozen)
