"""TIGER's tokenizer: an item's content vector to a short tuple of residual codes.

Parts: residual VQ with a codebook for each stage, moved by its own loss, started by k-means (`quantizers.rvq`); plain
networks (`networks.perceptron`). `semantic_ids` makes the codes of a whole catalogue unique.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.networks.perceptron import perceptron
from impl.quantizers.rvq import ResidualVQ
from impl.tokenizers.base import Tokenized, Tokenizer, check_finite
from impl.tokenizers.item.semantic_ids import SemanticIds, semantic_ids


class ItemRQVAE(Tokenizer):
    """RQ-VAE of content vectors (rajput2023recommender): (B, content_dim) to codes (B, num_codebooks).

    An encoder narrows the vector, residual VQ codes it coarse to fine, a decoder widens the sum of the codewords. The
    loss adds up squares over dimensions, as the paper writes it: the vector's and, for every stage, codebook and
    commitment (0.25).

    Args:
        content_dim: width of the content vectors.
        widths: of the encoder's hidden layers; the decoder has them the other way round.
        dim: D of the latents.
        codebook_size: K of each stage.
        num_codebooks: M.
        initialization: of the codebooks: "kmeans" on the first batch, or "uniform", with which they tend to collapse.
    """

    part_of: ClassVar[str] = "tiger"
    #: 3 codes of 16 for some hundred items. The paper: 768 to (512, 256, 128) to 32, three codebooks of 256.
    SMALL: ClassVar[dict[str, Any]] = {
        "content_dim": 64,
        "widths": (64,),
        "dim": 16,
        "codebook_size": 16,
        "num_codebooks": 3,
    }

    def __init__(
        self,
        content_dim: int,
        widths: Sequence[int],
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        initialization: str = "kmeans",
    ) -> None:
        super().__init__()
        self.content_dim = content_dim
        self.encoder = perceptron([content_dim, *widths, dim])
        self.quantizer = ResidualVQ(dim, codebook_size, num_codebooks, initialization=initialization)
        self.decoder = perceptron([dim, *reversed(widths), content_dim])

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return random directions (count, 64)."""
        generator = torch.Generator().manual_seed(seed)
        return F.normalize(torch.randn(count, cls.SMALL["content_dim"], generator=generator), dim=-1)

    def latents(self, items: Tensor) -> Tensor:
        """Return the latents (B, D), not yet quantized, of content vectors (B, content_dim).

        Raises:
            TypeError: the vectors are not floating point.
            ValueError: another shape, or NaN or Inf.
        """
        if not items.is_floating_point():
            raise TypeError(f"items must be floating point, got {items.dtype}.")
        if items.ndim != 2 or items.shape[1] != self.content_dim:
            raise ValueError(f"items must be (B, {self.content_dim}), got {tuple(items.shape)}.")
        check_finite(items)
        return self.encoder(items)

    def encode(self, items: Tensor) -> Tensor:
        """Return the codes (B, M) of content vectors (B, content_dim)."""
        return self.quantizer.encode(self.latents(items))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the content vectors (B, content_dim) that codes (B, M) stand for."""
        return self.decoder(self.quantizer.decode(codes))

    def forward(self, items: Tensor) -> Tokenized:
        """Return reconstruction, codes and losses of content vectors (B, content_dim)."""
        quantized, codes, losses = self.quantizer(self.latents(items))
        reconstruction = self.decoder(quantized)
        error = (reconstruction - items).square().sum(dim=-1).mean()
        # Residual VQ gives means over stages and dimensions; the paper adds both up.
        scale = self.quantizer.dim * self.quantizer.num_codebooks
        return Tokenized(
            reconstruction,
            codes,
            {"reconstruction": error, **{name: scale * loss for name, loss in losses.items()}},
        )

    @torch.no_grad()
    def ids(self, items: Tensor) -> SemanticIds:
        """Return the semantic ids of a catalogue (N, content_dim), codes and the number that tells equals apart."""
        return semantic_ids(self.encode(items), self.codebook_sizes)
