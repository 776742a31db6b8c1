"""Residual vector quantization: each codebook quantizes what the ones before it left.

Parts: one VQ-VAE quantizer a stage (`vq_vae`); what is new is the chain of residuals.
"""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.collectives import agreed, summed
from impl.quantizers.gradients import straight_through
from impl.quantizers.kmeans import cluster_sums
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.tables import CodewordTables
from impl.quantizers.vq_vae import VectorQuantizer

#: Vectors that go through all stages together: their residuals then stay in the cache.
BLOCK_ROWS = 4096


class ResidualVQ(Quantizer):
    """Residual vector quantization (chen2010approximate), fitted by k-means or trained inside an autoencoder.

    Stage m finds the codeword nearest to the residual r_m = z - (c_1 + ... + c_{m-1}); the latent is the
    sum of the M codewords. `fit` runs k-means on the residuals, stage by stage, as the paper does;
    `forward` trains the stages as VQ-VAE trains its one. Residuals are taken from detached codewords, so
    every stage's commitment loss reaches the encoder, and the losses are means over the stages, so their
    scale does not depend on M.

    A prefix of the columns decodes to the coarser latent. With quantizer dropout each training batch keeps
    a random number of stages, so that every prefix works; unused stages have code -1, which decodes to
    zero.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        shared: one codebook for all stages, updated once a batch.
        quantizer_dropout: train with a random number of stages: True for any from 1 to M, or the numbers to draw from.
        **options: of `VectorQuantizer`, for every stage.
    """

    partial_codes: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        shared: bool = False,
        quantizer_dropout: bool | tuple[int, ...] = False,
        **options: object,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.num_codebooks = positive_integer("num_codebooks", num_codebooks)
        self.codebook_sizes = (codebook_size,) * num_codebooks
        self.shared = shared
        depths = (
            tuple(range(1, num_codebooks + 1))
            if quantizer_dropout is True
            else tuple(quantizer_dropout or ())
        )
        if any(not 0 < depth <= num_codebooks for depth in depths):
            raise ValueError(f"quantizer_dropout must hold numbers from 1 to {num_codebooks}, got {depths}.")
        self.depths = depths
        # One entry when shared: the state then holds one table, not M copies.
        count = 1 if shared else num_codebooks
        self.stages = nn.ModuleList(VectorQuantizer(dim, codebook_size, **options) for _ in range(count))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 3, update="ema", decay=0.9, initialization="kmeans")

    def stage(self, index: int) -> VectorQuantizer:
        """Return the quantizer of stage `index`, the one and only when the codebook is shared."""
        return self.stages[0 if self.shared else index]

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every stage, for `impl.search`."""
        tables = [self.stage(index).codewords().detach() for index in range(self.num_codebooks)]
        return CodewordTables(tables, [0] * self.num_codebooks)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Fit each stage by k-means on the residuals of vectors (N, D) that the stages before it leave.

        Raises:
            ValueError: the codebook is shared; stages fitted one by one would overwrite each other.
        """
        if self.shared:
            raise ValueError("fit needs a codebook for each stage: shared must be False, got True.")
        residual = vectors
        for stage in self.stages:
            stage.fit(residual, iterations, seed)
            residual = residual - stage.decode(stage.encode(residual))
        return self

    def _depth(self, vectors: Tensor) -> int:
        if not (self.training and self.depths):
            return self.num_codebooks
        # Every process must run the same stages, or their collectives would wait for each other for ever.
        return self.depths[int(agreed(torch.randint(len(self.depths), (1,), device=vectors.device)))]

    def _quantize(self, vectors: Tensor) -> Quantized:
        depth = self._depth(vectors)
        total, residuals, columns, losses = torch.zeros_like(vectors), [], [], {}
        for index in range(depth):
            stage, residual = self.stage(index), vectors - total.detach()
            stage.initialize(residual)
            table = stage.codewords()
            columns.append(nearest_codes(residual.detach(), table.detach()))
            codewords = table[columns[-1]].to(vectors.dtype)
            for name, loss in stage.losses(residual, codewords).items():
                losses[name] = losses.get(name, 0) + loss / depth
            residuals.append(residual.detach())
            total = total + codewords
        codes = torch.stack(columns, dim=1)
        if self.training:
            self._learn(residuals, codes)
        codes = F.pad(codes, (0, self.num_codebooks - depth), value=-1)
        return Quantized(straight_through(vectors, total), codes, losses)

    @torch.no_grad()
    def _learn(self, residuals: list[Tensor], codes: Tensor) -> None:
        if self.shared:
            self.stages[0].learn(torch.cat(residuals), codes.T.reshape(-1))
            return
        if not self.stages[0].learns:
            return
        statistics = [
            cluster_sums(residual, column, stage.codebook_size)
            for stage, residual, column in zip(self.stages, residuals, codes.unbind(1), strict=False)
        ]
        # One packed exchange for all stages: each costs the same however little it carries.
        totals = summed(*(part for pair in statistics for part in pair))
        for stage, residual, counts, sums in zip(
            self.stages, residuals, totals[::2], totals[1::2], strict=False
        ):
            stage.absorb(counts, sums, residual)

    def _encode(self, vectors: Tensor) -> Tensor:
        tables = [self.stage(index).codewords().detach() for index in range(self.num_codebooks)]
        return torch.cat([_chain(block, tables) for block in vectors.split(BLOCK_ROWS)])

    def _decode(self, codes: Tensor) -> Tensor:
        # Summed in the order of the stages, so that the rounding is that of `forward`.
        total = torch.zeros(len(codes), self.dim, device=codes.device)
        for index, column in enumerate(codes.unbind(1)):
            codewords = self.stage(index).codewords()[column.clamp(min=0)]
            total = total + codewords * (column >= 0)[:, None]
        return total


def _chain(vectors: Tensor, tables: list[Tensor]) -> Tensor:
    """Codes (N, M) of vectors (N, D), each stage's nearest codeword to what the stages before it left."""
    columns, total = [], torch.zeros_like(vectors)
    for table in tables:
        columns.append(nearest_codes(vectors - total, table))
        total = total + table[columns[-1]].to(vectors.dtype)
    return torch.stack(columns, dim=1)
