"""VQGAN-LC: a frozen table of a pretrained encoder's feature centres, seen through a trainable projector.

Parts: nearest codeword, straight-through gradient (`nearest`), frozen table and linear layer (`projected`); what is new
is what the table is made of: k-means centres (`kmeans`) of features that another network gave the training data.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import mean_square
from impl.quantizers.kmeans import kmeans
from impl.quantizers.projected import ProjectedCodebook


class VQGANLC(ProjectedCodebook):
    """The quantizer of VQGAN-LC (zhu2024scaling).

    A pretrained vision encoder gives features of patches of the training set. Their K cluster centres are the table,
    which stays as it is. A projector maps it to the latent space, and it alone is trained: however large the table,
    no codeword can be left behind. The paper's features are CLIP's; any (K, F) centres do here, and `from_features`
    makes them.

    Args:
        dim: D, width of latents.
        frozen: (K, F), the centres.
        commitment_weight: of mean (z - sg[c])^2.
        codebook_weight: of mean (sg[z] - c)^2, which trains the projector. The defaults are the paper's 1 and 0.33
            times its weight 0.1 of both.

    Raises:
        ValueError: a table that is not a matrix.
    """

    def __init__(
        self, dim: int, frozen: Tensor, commitment_weight: float = 0.1, codebook_weight: float = 0.033
    ) -> None:
        super().__init__(dim, frozen, commitment_weight)
        self.codebook_weight = codebook_weight
        # Codewords start with the spread of the features: the default start would shrink them.
        torch.nn.init.normal_(self.projection.weight, std=dim**-0.5)
        torch.nn.init.zeros_(self.projection.bias)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 centres of normal features of width 12."""
        return cls.from_features(dim, torch.randn(200, 12), 16)

    @classmethod
    def from_features(
        cls, dim: int, features: Tensor, codebook_size: int, iterations: int = 25, seed: int = 0
    ) -> Self:
        """Return a quantizer of width `dim` whose table is the k-means centres of features (N, F)."""
        return cls(dim, kmeans(features, codebook_size, iterations, seed))

    def losses(self, vectors: Tensor, codewords: Tensor) -> dict[str, Tensor]:
        """Return both losses of vectors (N, D) that were given codewords (N, D), each with its own weight."""
        return {
            "commitment": self.commitment_weight * mean_square(vectors - codewords.detach()),
            "codebook": self.codebook_weight * mean_square(vectors.detach() - codewords),
        }
