"""MAGVIT-v2's generator: hidden codes of a video are told from the others, half of the bits at a time.

Parts: the tokenizer, frozen (`tokenizers.video.magvit_v2`), a masked transformer over parts of codes
(`networks.masked_transformer`), random masks (`objectives.masking`), masked decoding (`sampling.masked`).
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.masked_transformer import MaskedTransformer
from impl.objectives.masking import random_masks
from impl.quantizers.bits import join_codes, split_codes
from impl.sampling.masked import decode_masked, hidden_share
from impl.tokenizers.video.magvit_v2 import MAGVITv2


class Predicted(NamedTuple):
    """Logits (B, n, 2^b) for each part of the codes, what was hidden (B, n), and the loss in nats a code."""

    logits: list[Tensor]
    hidden: Tensor
    losses: dict[str, Tensor]


class MaskedVideoModel(nn.Module):
    """Masked generation of videos and images (yu2024language).

    A vocabulary of 2^18 codes has too many embeddings and logits for a transformer. So the bits of a code are split
    into groups, each a vocabulary of its own: embeddings are added, and each group has its logits. A given first frame
    is a video whose first codes are not hidden: the tokenizer is causal, so they do not depend on what follows.

    Args:
        tokenizer: trained; frozen here.
        grid: (t, h, w) of its codes.
        classes: number of classes.
        widths: bits of each group; their sum is the bits of a code.
        dim: width.
        depth: blocks.
        heads: of attention.
    """

    def __init__(
        self,
        tokenizer: MAGVITv2,
        grid: tuple[int, int, int],
        classes: int,
        widths: Sequence[int] = (9, 9),
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        bits = tokenizer.quantizer.bits
        if sum(widths) != bits or min(widths) < 1:
            raise ValueError(f"widths must add up to the {bits:g} bits of a code, got {tuple(widths)}.")
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.grid, self.widths, self.positions = tuple(grid), tuple(widths), grid[0] * grid[1] * grid[2]
        sizes = [2**width for width in widths]
        self.network = MaskedTransformer(self.positions, sizes, classes, dim, depth, heads)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 10 classes over an untrained tokenizer of 5 frames of 16 x 16 pixels."""
        return cls(MAGVITv2.tiny(seed), (3, 4, 4), 10, (4, 4), dim=32, depth=1)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, batch: tuple[Tensor, Tensor]) -> Predicted:
        """Return logits and loss for videos (B, C, T, H, W) and classes (B,), with other positions hidden each time."""
        videos, classes = batch
        with torch.no_grad():
            parts = self.parts(self.tokenizer.encode(videos))
        counts = (hidden_share(torch.rand(len(parts))) * self.positions).ceil().clamp(min=1)
        hidden = random_masks(self.positions, counts).to(videos.device)
        logits = self.network(parts, hidden, classes)
        loss = sum(F.cross_entropy(column[hidden], parts[hidden][:, m]) for m, column in enumerate(logits))
        return Predicted(logits, hidden, {"cross_entropy": loss})

    def parts(self, codes: Tensor) -> Tensor:
        """Return codes (B, t, h, w, 1) as a row of positions and groups (B, n, M)."""
        return split_codes(codes.flatten(1, 3), self.widths)

    @torch.no_grad()
    def generate(
        self,
        classes: Tensor,
        steps: int = 8,
        first: Tensor | None = None,
        temperature: float = 1.0,
        choice_temperature: float = 4.5,
        seed: int = 0,
    ) -> Tensor:
        """Draw codes (B, t, h, w, 1) for classes (B,).

        Args:
            classes: (B,).
            steps: passes of the transformer.
            first: codes (B, s, h, w, 1) of the first s steps in time, which stay as they are; None for none.
            temperature: of the draw.
            choice_temperature: of what is kept, as of `decode_masked`.
            seed: of both.
        """
        generator = torch.Generator(device=classes.device).manual_seed(seed)
        codes = torch.zeros(len(classes), *self.grid, 1, dtype=torch.int64, device=classes.device)
        hidden = torch.ones_like(codes[..., 0], dtype=torch.bool)
        if first is not None:
            codes[:, : first.shape[1]], hidden[:, : first.shape[1]] = first, False

        def predict(parts: Tensor, hidden: Tensor) -> list[Tensor]:
            return self.network(parts, hidden, classes)

        parts = decode_masked(
            predict, self.parts(codes), hidden.flatten(1), steps, temperature, choice_temperature, generator
        )
        return join_codes(parts, self.widths).unflatten(1, self.grid)

    @torch.no_grad()
    def sample(self, classes: Tensor, image: Tensor | None = None, **options: float) -> Tensor:
        """Draw a video (B, C, T, H, W) for each class (B,), starting with the images (B, C, H, W) if these are given.

        Options as in `generate`.
        """
        first = None if image is None else self.tokenizer.encode(image[:, :, None])
        return self.tokenizer.decode(self.generate(classes, first=first, **options))
