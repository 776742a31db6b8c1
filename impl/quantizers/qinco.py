"""QINCo: every step's codebook is made for the vector at hand, from what has been decoded of it.

Parts: stages, search and training (`implicit`); this is the network.
"""

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.implicit import ImplicitCodebooks


class CodewordNetwork(nn.Module):
    """z_0 = c + A [c; x^], z_l = z_{l-1} + W'' relu(W' z_{l-1}); at the start it returns c.

    Args:
        dim: D.
        blocks: L.
        hidden: of the blocks.
    """

    def __init__(self, dim: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)
        self.blocks = nn.ModuleList(residual_block(dim, hidden) for _ in range(blocks))

    def forward(self, codewords: Tensor, sums: Tensor) -> Tensor:
        """Map codewords (..., D) and sums (..., D) to codewords (..., D)."""
        z = codewords + self.join(torch.cat([codewords, sums], dim=-1))
        for block in self.blocks:
            z = z + block(z)
        return z


def residual_block(dim: int, hidden: int) -> nn.Sequential:
    """Build W'' relu(W' z) without biases, W'' zero at the start."""
    block = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, dim, bias=False))
    nn.init.zeros_(block[2].weight)
    return block


class QINCo(ImplicitCodebooks):
    """Residual quantization with implicit neural codebooks, QINCo (huijben2024residual).

    Encoding is greedy and makes all K codewords of every stage: M K passes through a small network for a vector. With
    networks that return their base codeword it is residual quantization. Parameters are no part of the rate.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        blocks: L, of each network.
        hidden: of its blocks.
        steps: of Adam in `fit`.
        learning_rate: of Adam in `fit`.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        blocks: int = 2,
        hidden: int = 64,
        steps: int = 600,
        learning_rate: float = 1e-3,
        commitment_weight: float = 0.25,
    ) -> None:
        make_network = partial(CodewordNetwork, dim, blocks, hidden)
        super().__init__(
            dim, codebook_size, num_codebooks, make_network, steps, learning_rate, commitment_weight
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords and 20 steps."""
        return cls(dim, 8, 3, blocks=1, hidden=16, steps=20)
