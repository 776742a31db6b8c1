"""RQ-Transformer: one transformer walks over positions, a second, small one over the codes of each position.

Parts: RQ-VAE, frozen (`tokenizers.image.rq_vae`), causal transformers with caches (`networks.transformers`), drawing of
codes (`sampling.categorical`); new are the split in two and targets that know how near the other codes are.
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.transformers import Cache, Transformer
from impl.sampling.categorical import draw
from impl.tokenizers.image.rq_vae import RQVAE


class Predicted(NamedTuple):
    """Logits (B, T, D, K) and the loss, in nats a code."""

    logits: Tensor
    losses: dict[str, Tensor]


class RQTransformer(nn.Module):
    """Generates stacks of residual codes (lee2022autoregressive).

    Position t is fed the sum of the embeddings of all D codes of position t - 1; the depth transformer starts from what
    comes out there and is fed, for code d, the sum of the embeddings of the codes before d. A sequence of T D codes so
    costs T^2 + T D^2 instead of (T D)^2 in attention.

    Training draws codes from Q(k | r) ~ exp(-|r - e_k|^2 / tau), depth after depth, and the same distribution is the
    target: a code that is nearly as near is nearly as right.

    Args:
        tokenizer: trained; frozen here.
        grid: height and width of its codes.
        classes: number of classes to condition on.
        dim: width of both transformers.
        spatial_depth: blocks over positions.
        code_depth: blocks over the codes of a position.
        heads: of both.
        temperature: tau; 0 takes the nearest code, and the target is that code alone.
    """

    def __init__(
        self,
        tokenizer: RQVAE,
        grid: tuple[int, int],
        classes: int,
        dim: int = 64,
        spatial_depth: int = 2,
        code_depth: int = 2,
        heads: int = 4,
        temperature: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokenizer, self.grid = tokenizer.eval().requires_grad_(False), grid
        self.temperature = temperature
        sizes = tokenizer.quantizer.codebook_sizes
        self.codebook_size, self.depth, self.positions = sizes[0], len(sizes), grid[0] * grid[1]
        self.embed = nn.Embedding(self.codebook_size, dim)
        self.classes = nn.Embedding(classes, dim)
        self.place = nn.Parameter(0.02 * torch.randn(self.positions, dim))
        self.level = nn.Parameter(0.02 * torch.randn(self.depth, dim))
        self.spatial = Transformer(dim, spatial_depth, heads, causal=True)
        self.stack = Transformer(dim, code_depth, heads, causal=True)
        self.head = nn.Linear(dim, self.codebook_size)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 10 classes over an untrained RQ-VAE of 16 x 16 images."""
        torch.manual_seed(seed)
        return cls(RQVAE(**RQVAE.SMALL), (4, 4), 10, dim=32, spatial_depth=1, code_depth=1)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def soft_codes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Draw codes (..., D) of latents (..., dim) and return with them Q (..., D, K) of each.

        A draw at one depth decides the residual of the next.
        """
        codewords, residual = self.tokenizer.quantizer.stage(0).codewords(), latents
        codes, targets = [], []
        for _ in range(self.depth):
            # A position has few neighbours: the (positions, K) distances are the distribution itself.
            distances = (
                torch.cdist(residual.flatten(0, -2), codewords).square().reshape(*residual.shape[:-1], -1)
            )
            if self.temperature:
                target = (-distances / self.temperature).softmax(dim=-1)
                code = draw(target.log()) if self.training else distances.argmin(dim=-1)
            else:
                code = distances.argmin(dim=-1)
                target = F.one_hot(code, self.codebook_size).to(distances.dtype)
            codes.append(code)
            targets.append(target)
            residual = residual - codewords[code]
        return torch.stack(codes, dim=-1), torch.stack(targets, dim=-2)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Predicted:
        """Return logits and loss for images (B, C, H, W) and classes (B,)."""
        images, classes = batch
        codes, targets = self.soft_codes(self.tokenizer.latents(images).flatten(1, 2))
        logits = self.logits(codes, classes)
        loss = -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
        return Predicted(logits, {"cross_entropy": loss})

    def logits(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Return logits (B, T, D, K) of codes (B, T, D), each from the codes before it."""
        embedded = self.embed(codes)
        previous = torch.cat([self.classes(classes)[:, None], embedded[:, :-1].sum(dim=2)], dim=1)
        context = self.spatial(previous + self.place)
        # Code d is fed the context (d = 1) or the sum of the codes above it.
        stacked = torch.cat([context[:, :, None], embedded[:, :, :-1].cumsum(dim=2)], dim=2) + self.level
        return self.head(self.stack(stacked.flatten(0, 1))).unflatten(0, codes.shape[:2])

    @torch.no_grad()
    def generate(
        self, classes: Tensor, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
    ) -> Tensor:
        """Draw codes (B, T, D) for classes (B,): T passes over positions, D small ones in each."""
        generator = torch.Generator(device=classes.device).manual_seed(seed)
        cache, codes, previous = Cache(), [], self.classes(classes)[:, None]
        for position in range(self.positions):
            context = self.spatial(previous + self.place[position], cache=cache)
            given, inner, column = context, Cache(), []
            total = torch.zeros_like(context)
            for level in range(self.depth):
                output = self.head(self.stack(given + self.level[level], cache=inner))[:, 0]
                column.append(draw(output, temperature, top_k, generator=generator))
                total = total + self.embed(column[-1])[:, None]
                given = total
            codes.append(torch.stack(column, dim=-1))
            previous = total
        return torch.stack(codes, dim=1)

    @torch.no_grad()
    def sample(
        self, classes: Tensor, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
    ) -> Tensor:
        """Draw an image (B, C, H, W) for each class (B,)."""
        codes = self.generate(classes, temperature, top_k, seed)
        return self.tokenizer.decode(codes.unflatten(1, self.grid))
