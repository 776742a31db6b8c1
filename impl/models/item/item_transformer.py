"""The baseline of recommenders with codes: a causal transformer over whole items, one embedding each.

Parts: the shared transformer (`networks.transformers`).
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.interactions import PADDING
from impl.networks.transformers import Transformer
from impl.sampling.prefix_tree import Beams


class Scored(NamedTuple):
    """Logits (B, n, N) of the item after each place, and the loss in nats an item."""

    logits: Tensor
    losses: dict[str, Tensor]


class ItemTransformer(nn.Module):
    """A sequential recommender of atomic items, after SASRec: what an item is about it does not know.

    Every place of a history predicts the item after it, by the product of its state with all items' embeddings; the
    loss is the cross-entropy over all items, which is known to do better than SASRec's own sampled one.

    Args:
        items: N.
        length: of a history at most.
        dim: of embeddings and states.
        depth: blocks.
        heads: of each.
        dropout: of the embeddings.
    """

    def __init__(
        self,
        items: int,
        length: int = 20,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(items, dim)
        self.place = nn.Parameter(0.02 * torch.randn(length, dim))
        self.dropout = nn.Dropout(dropout)
        self.transformer = Transformer(dim, depth, heads, causal=True)
        nn.init.normal_(self.embed.weight, std=0.02)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a model of 30 items."""
        torch.manual_seed(seed)
        return cls(30, dim=16, depth=1)

    def forward(self, batch: Sequence[Tensor]) -> Scored:
        """Return logits and loss of histories (B, n), users (B,), which it leaves aside, and next items (B,)."""
        histories, _, targets = batch
        logits = self.logits(histories)
        labels = torch.cat([histories[:, 1:], histories.new_full((len(histories), 1), PADDING)], dim=1)
        labels = labels.scatter(1, self._last(histories)[:, None], targets[:, None])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=PADDING)
        return Scored(logits, {"cross_entropy": loss})

    def logits(self, histories: Tensor) -> Tensor:
        """Return the logits (B, n, N) of what follows each place of histories (B, n)."""
        # What fills a history up stands behind what it fills, where a causal transformer does not look.
        embedded = self.embed(histories.clamp(min=0)) + self.place[: histories.shape[1]]
        return self.transformer(self.dropout(embedded)) @ self.embed.weight.T

    @torch.no_grad()
    def search(self, histories: Tensor, users: Tensor, width: int = 20) -> Beams:
        """Return the `width` most probable items for each history (B, n), as `TIGER.search` does."""
        last = self._last(histories)
        logits = self.logits(histories)[torch.arange(len(last), device=last.device), last].float()
        scores, rows = logits.log_softmax(dim=-1).topk(width, dim=-1)
        return Beams(rows, scores)

    def _last(self, histories: Tensor) -> Tensor:
        return (histories >= 0).sum(dim=1) - 1
