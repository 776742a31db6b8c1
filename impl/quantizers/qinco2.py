"""QINCo2: neural codebooks that try few codewords for many partial sums, and a quick decoder for the shortlist.

Parts: stages, search and training (`implicit`), blocks (`qinco`); new are pre-selection, the beam in training and
encoding, the wider network, and the pairwise decoder.
"""

from functools import partial
from itertools import combinations
from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import mean_square, positive_integer
from impl.quantizers.implicit import ImplicitCodebooks
from impl.quantizers.kmeans import cluster_sums
from impl.quantizers.qinco import residual_block


class WideCodewordNetwork(nn.Module):
    """c + P z, where z starts as E c + A [E c; x^] and passes residual blocks; P is zero at the start.

    Args:
        dim: D.
        embed_dim: width of z.
        blocks: L.
        hidden: of the blocks.
    """

    def __init__(self, dim: int, embed_dim: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, embed_dim, bias=False)
        self.join = nn.Linear(embed_dim + dim, embed_dim)
        self.blocks = nn.ModuleList(residual_block(embed_dim, hidden) for _ in range(blocks))
        self.project = nn.Linear(embed_dim, dim, bias=False)
        nn.init.zeros_(self.project.weight)

    def forward(self, codewords: Tensor, sums: Tensor) -> Tensor:
        """Map codewords (..., D) and sums (..., D) to codewords (..., D)."""
        z = self.embed(codewords)
        z = z + self.join(torch.cat([z, sums], dim=-1))
        for block in self.blocks:
            z = z + block(z)
        return codewords + self.project(z)


class QINCo2(ImplicitCodebooks):
    """QINCo2 (vallaeys2025qinco2).

    From the second stage on, a plain table of its own picks the A codewords that the network is asked for; it learns
    from the distance of its chosen codeword to the residual. Of B partial sums times A codewords the best B are kept,
    in training as in encoding. With A = K, B = 1 this is greedy.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        preselected: A, at most K.
        width: B.
        embed_dim: of each network; None for D.
        blocks: L.
        hidden: of the blocks.
        steps: of Adam in `fit`.
        learning_rate: of Adam in `fit`.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        preselected: int = 4,
        width: int = 4,
        embed_dim: int | None = None,
        blocks: int = 2,
        hidden: int = 64,
        steps: int = 600,
        learning_rate: float = 1e-3,
        commitment_weight: float = 0.25,
    ) -> None:
        make_network = partial(WideCodewordNetwork, dim, embed_dim or dim, blocks, hidden)
        super().__init__(
            dim, codebook_size, num_codebooks, make_network, steps, learning_rate, commitment_weight
        )
        if positive_integer("preselected", preselected) > codebook_size:
            raise ValueError(
                f"preselected must be at most codebook_size, got {preselected} of {codebook_size}."
            )
        self.preselected, self.width = preselected, positive_integer("width", width)
        self.tables = nn.Parameter(self.base.detach()[1:].clone())

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords, 4 of them tried for each of 2 partial sums, and 20 steps."""
        return cls(dim, 8, 3, preselected=4, width=2, blocks=1, hidden=16, steps=20)

    def start(self, codebooks: Tensor) -> None:
        """Set base tables and pre-selection tables from codebooks (M, K, D)."""
        super().start(codebooks)
        self.tables.copy_(codebooks[1:])

    def candidates(self, stage: int, residuals: Tensor) -> Tensor:
        """Return the A codes nearest to residuals (N, B, D) in the stage's own table; all K in the first stage."""
        if stage == 0 or self.preselected == self.codebook_sizes[0]:
            return super().candidates(stage, residuals)
        table = self.tables[stage - 1].to(residuals.dtype)
        scores = residuals @ table.T - table.square().sum(dim=1) / 2
        return scores.topk(self.preselected, dim=-1).indices

    def stage_losses(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Return mean |x - x^_m|^2 of every stage and, for the second on, that of the pre-selection tables."""
        prefixes = self.prefixes(codes)
        losses = [mean_square(vectors - prefix) for prefix in prefixes]
        for stage in range(1, codes.shape[1]):
            chosen = self.tables[stage - 1][codes[:, stage]]
            losses.append(mean_square(vectors - prefixes[stage - 1].detach() - chosen))
        return torch.stack(losses)


class PairwiseDecoder:
    """A sum of tables over pairs of code columns that stands for a quantizer's slow decode (vallaeys2025qinco2).

    Table by table, the pair of columns whose joint table (the mean of what is left, for every two codes) removes most
    of the error is added. A shortlist found with its tables is then ranked again by full decoding (`impl.rerank`).

    Args:
        codes: (N, M) of vectors.
        vectors: (N, D) that the codes are of.
        codebook_size: K.
        num_tables: how many; each holds K^2 codewords.
    """

    def __init__(self, codes: Tensor, vectors: Tensor, codebook_size: int, num_tables: int) -> None:
        self.codebook_size, self.pairs, self.tables = codebook_size, [], []
        #: Mean squared error on the training vectors before the first table and after each.
        self.errors = [float(vectors.square().mean())]
        residual = vectors
        for _ in range(positive_integer("num_tables", num_tables)):
            pair, table, error = min(
                (self._table(codes, residual, pair) for pair in combinations(range(codes.shape[1]), 2)),
                key=lambda found: found[2],
            )
            self.pairs.append(pair)
            self.tables.append(table)
            self.errors.append(error)
            residual = residual - table[self._joint(codes, pair)]

    def encode(self, codes: Tensor) -> Tensor:
        """Return the rows (N, T) of the tables that codes (N, M) choose."""
        return torch.stack([self._joint(codes, pair) for pair in self.pairs], dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (N, D) that the tables make of codes (N, M)."""
        return sum(table[rows] for table, rows in zip(self.tables, self.encode(codes).unbind(1), strict=True))

    def _joint(self, codes: Tensor, pair: tuple[int, int]) -> Tensor:
        return codes[:, pair[0]] * self.codebook_size + codes[:, pair[1]]

    def _table(self, codes: Tensor, residual: Tensor, pair: tuple[int, int]) -> tuple:
        rows = self._joint(codes, pair)
        counts, sums = cluster_sums(residual, rows, self.codebook_size**2)
        # Two codes that never met in training add nothing.
        table = sums / counts.clamp(min=1)[:, None]
        return pair, table, float((residual - table[rows]).square().mean())
