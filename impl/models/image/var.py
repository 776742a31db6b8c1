"""VAR: autoregression over scales, not over places; all codes of a scale are drawn at once.

Parts: the multi-scale tokenizer, frozen (`tokenizers.image.multi_scale`), a transformer with conditioned norms and a
cache (`networks.transformers`), drawing of codes (`sampling.categorical`).
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.transformers import Cache, Transformer
from impl.sampling.categorical import draw
from impl.tokenizers.image.multi_scale import MultiScaleVQVAE


class Predicted(NamedTuple):
    """Logits (B, L, K) and the loss, in nats a code."""

    logits: Tensor
    losses: dict[str, Tensor]


class VAR(nn.Module):
    """Next-scale prediction (tian2024visual).

    What goes in at scale k is the sum of what the scales before it decode to, averaged over its grid, with embeddings
    of place and scale; at the first scale, the class. A code sees its own scale and those before. So an image takes as
    many passes as there are scales. The class also sets the norms.

    Args:
        tokenizer: trained; frozen here.
        classes: number of classes.
        dim: width.
        depth: blocks.
        heads: of attention.
        drop: share of training samples whose class is withheld, for guidance.
    """

    def __init__(
        self,
        tokenizer: MultiScaleVQVAE,
        classes: int,
        dim: int = 64,
        depth: int = 4,
        heads: int = 4,
        drop: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.pyramid, self.drop = tokenizer.quantizer, drop
        self.word = nn.Linear(self.pyramid.dim, dim)
        self.no_class = classes
        self.classes = nn.Embedding(classes + 1, dim)
        self.place = nn.Parameter(0.02 * torch.randn(self.pyramid.length(), dim))
        self.scale = nn.Parameter(0.02 * torch.randn(len(self.pyramid.scales), dim))
        self.transformer = Transformer(dim, depth, heads, condition_dim=dim)
        self.head = nn.Linear(dim, self.pyramid.codebook_sizes[0])
        sides = torch.tensor(self.pyramid.scales)
        scale_of = torch.arange(len(sides)).repeat_interleave(sides.square())
        self.register_buffer("scale_of", scale_of, persistent=False)
        self.register_buffer("mask", scale_of[:, None] >= scale_of[None], persistent=False)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 10 classes over an untrained tokenizer of 16 x 16 images."""
        torch.manual_seed(seed)
        return cls(MultiScaleVQVAE(**MultiScaleVQVAE.SMALL), 10, dim=32, depth=2)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, batch: tuple[Tensor, Tensor]) -> Predicted:
        """Return logits and loss for images (B, C, H, W) and classes (B,)."""
        images, classes = batch
        with torch.no_grad():
            codes = self.tokenizer.encode(images)
        if self.training:
            withheld = torch.rand(classes.shape, device=classes.device) < self.drop
            classes = classes.masked_fill(withheld, self.no_class)
        logits = self.logits(codes, classes)
        return Predicted(logits, {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), codes.flatten())})

    def logits(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Return logits (B, L, K) of codes (B, L, 1), each from the scales before its own."""
        condition = self.classes(classes)
        x = torch.cat([condition[:, None], self.word(self.inputs(codes))], dim=1)
        x = x + self.place + self.scale[self.scale_of]
        return self.head(self.transformer(x, mask=self.mask, condition=condition))

    @torch.no_grad()
    def inputs(self, codes: Tensor) -> Tensor:
        """Return what goes in from the second scale on, (B, L - 1, D), of codes (B, L, 1)."""
        parts, total = [], 0.0
        for index, contribution in enumerate(self.pyramid.contributions(codes)[:-1]):
            total = total + contribution
            parts.append(self.pyramid.reduced(total, index + 1))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def generate(
        self,
        classes: Tensor,
        temperature: float = 1.0,
        top_k: int | None = None,
        guidance: float = 0.0,
        seed: int = 0,
    ) -> Tensor:
        """Draw codes (B, L, 1) for classes (B,), one pass a scale.

        Args:
            classes: (B,).
            temperature: of the draw.
            top_k: of the draw.
            guidance: g; logits are those with class plus g times what the class changed.
            seed: of the draw.
        """
        generator = torch.Generator(device=classes.device).manual_seed(seed)
        both = torch.cat([classes, torch.full_like(classes, self.no_class)])
        condition, cache, drawn, total = self.classes(both), Cache(), [], 0.0
        x = condition[:, None]
        for index in range(len(self.pyramid.scales)):
            here = slice(self.pyramid.length(index), self.pyramid.length(index + 1))
            x = x + self.place[here] + self.scale[index]
            logits = self.head(self.transformer(x, condition=condition, cache=cache))
            given, free = logits.chunk(2)
            codes = draw(given + guidance * (given - free), temperature, top_k, generator=generator)
            drawn.append(codes)
            if index + 1 < len(self.pyramid.scales):
                total = total + self.pyramid.enlarged(codes, index)
                x = self.word(self.pyramid.reduced(total, index + 1)).repeat(2, 1, 1)
        return torch.cat(drawn, dim=1)[..., None]

    @torch.no_grad()
    def sample(self, classes: Tensor, temperature: float = 1.0, seed: int = 0, **options: float) -> Tensor:
        """Draw an image (B, C, H, W) for each class (B,); options as in `generate`."""
        return self.tokenizer.decode(self.generate(classes, temperature, seed=seed, **options))
