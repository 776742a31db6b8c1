"""BEiT v2: a transformer learns to see by telling the codes of patches that it is not shown.

Parts: the tokenizer, frozen (`tokenizers.image.beit_v2`), transformers over patches (`networks.patches`,
`networks.transformers`), masks of blocks (`objectives.masking`); new is the second way through which the summary of the
image is made to hold what the patches do not.
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.patches import PatchEmbedding
from impl.networks.transformers import Transformer
from impl.objectives.masking import block_masks
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.image.beit_v2 import VQKD


class Predicted(NamedTuple):
    """Logits (hidden positions of the batch, K), what was hidden (B, n), and losses in nats a code."""

    logits: Tensor
    masks: Tensor
    losses: dict[str, Tensor]


class BEiTv2(nn.Module):
    """Masked image modelling over codes, with patch aggregation (peng2022beit).

    Blocks of patches are replaced by a learned vector, and the codes there are to be told from the rest. A token in
    front ([CLS]) is to become the summary of the image: in a second way, its last state goes together with the patches'
    states of an earlier block through two more blocks and the same head, with the same loss. Those patch states know
    little, so what is missing has to be in the summary. After training the second way is not used.

    Args:
        tokenizer: any that gives one code a patch of the same grid; frozen here.
        channels: of the images.
        side: of the images.
        patch: side of a patch.
        dim: width.
        depth: blocks.
        early: block after which the patches' states go the second way.
        aggregation_depth: blocks of the second way; 0 leaves it out.
        heads: of attention.
        mask_ratio: share of the patches that is hidden.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        channels: int = 3,
        side: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        early: int = 9,
        aggregation_depth: int = 2,
        heads: int = 12,
        mask_ratio: float = 0.4,
    ) -> None:
        super().__init__()
        if not 0 <= early <= depth:
            raise ValueError(f"early must be from 0 to {depth}, the depth, got {early}.")
        if not 0 < mask_ratio <= 1:
            raise ValueError(f"mask_ratio must be in (0, 1], got {mask_ratio}.")
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.patches = PatchEmbedding(channels, side, patch, dim)
        self.grid, self.early = self.patches.grid, early
        self.masked = max(1, round(mask_ratio * self.grid[0] * self.grid[1]))
        self.hidden, self.summary = (nn.Parameter(0.02 * torch.randn(dim)) for _ in range(2))
        self.transformer = Transformer(dim, depth, heads)
        self.head = nn.Linear(dim, tokenizer.codebook_sizes[0])
        self.aggregation = Transformer(dim, aggregation_depth, heads) if aggregation_depth else None

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model over an untrained tokenizer of 16 x 16 images."""
        return cls(VQKD.tiny(seed), side=16, patch=4, dim=32, depth=2, early=1, aggregation_depth=1, heads=4)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, images: Tensor) -> Predicted:
        """Return logits and losses for images (B, C, H, W), with masks drawn anew."""
        masks = block_masks(len(images), self.grid, self.masked).flatten(1).to(images.device)
        with torch.no_grad():
            codes = self.tokenizer.encode(images).flatten(1)
        if codes.shape != masks.shape:
            raise ValueError(f"tokenizer must give {masks.shape[1]} codes an image, got {codes.shape[1]}.")
        states = self.states(images, masks)
        logits = self.head(self.transformer.norm(states[-1], None)[:, 1:][masks])
        losses = {"masked": F.cross_entropy(logits, codes[masks])}
        if self.aggregation is not None:
            mixed = torch.cat([states[-1][:, :1], states[self.early][:, 1:]], dim=1)
            again = self.head(self.aggregation(mixed)[:, 1:][masks])
            losses["aggregated"] = F.cross_entropy(again, codes[masks])
        return Predicted(logits, masks, losses)

    def states(self, images: Tensor, masks: Tensor | None = None) -> list[Tensor]:
        """Return the states (B, 1 + n, D) before the first block and after each, of images with masks (B, n) hidden."""
        x = self.patches(images)
        if masks is not None:
            x = torch.where(masks[..., None], self.hidden + self.patches.positions, x)
        return self.transformer.states(torch.cat([self.summary.expand(len(x), 1, -1), x], dim=1))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the summaries (B, D) of whole images (B, C, H, W), for a linear probe."""
        return self.transformer.norm(self.states(images)[-1], None)[:, 0]
