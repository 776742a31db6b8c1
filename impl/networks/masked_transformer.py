"""A transformer that tells hidden codes from those that are shown, with large vocabularies in small parts."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.transformers import Transformer


class MaskedTransformer(nn.Module):
    """Tell the codes (B, n, M) of n positions from those not hidden and a class.

    Each column has a table of embeddings; a position is fed their sum, and the same tables, transposed, give the logits
    of each column (yu2024language). With M = 1 it is the model of MaskGIT (chang2022maskgit).

    Args:
        positions: n.
        codebook_sizes: K of each column.
        classes: number of classes.
        dim: width.
        depth: blocks.
        heads: of attention.
    """

    def __init__(
        self, positions: int, codebook_sizes: Sequence[int], classes: int, dim: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in codebook_sizes)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in codebook_sizes)
        self.classes = nn.Embedding(classes, dim)
        self.hidden = nn.Parameter(torch.empty(dim))
        self.places = nn.Parameter(torch.empty(positions, dim))
        for table in (
            *(table.weight for table in self.tables),
            self.classes.weight,
            self.hidden,
            self.places,
        ):
            nn.init.normal_(table, std=0.1)
        self.transformer = Transformer(dim, depth, heads)
        self.last = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))

    def forward(self, codes: Tensor, hidden: Tensor, classes: Tensor) -> list[Tensor]:
        """Return logits (B, n, K_m) for each column of codes (B, n, M), hidden (B, n), of classes (B,)."""
        shown = sum(table(column) for table, column in zip(self.tables, codes.unbind(-1), strict=True))
        x = torch.where(hidden[..., None], self.hidden, shown) + self.places
        x = self.transformer(torch.cat([self.classes(classes)[:, None], x], dim=1))[:, 1:]
        x = self.last(x)
        return [F.linear(x, table.weight, bias) for table, bias in zip(self.tables, self.biases, strict=True)]
