"""The shared part of quantizers that are chains: each stage quantizes what those before it left."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer
from impl.quantizers.gradients import straight_through
from impl.quantizers.tables import CodewordTables


class ResidualOfQuantizers(Quantizer):
    """A chain of any quantizers of one width; the latent is the sum of what they decode to.

    Losses are means over the stages, and residuals are taken from what is decoded, cut off from its graph, so every
    stage's commitment reaches the encoder.

    Args:
        stages: the quantizers, in order.
    """

    part_of: ClassVar[str] = "the shared part of quantizers that are chains of other quantizers"

    def __init__(self, stages: Sequence[Quantizer]) -> None:
        super().__init__()
        self.stages, self.dim = nn.ModuleList(stages), stages[0].dim
        self.codebook_sizes = tuple(size for stage in stages for size in stage.codebook_sizes)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Fit each stage to what the stages before it leave of vectors (N, D)."""
        residual = self._vectors(vectors)
        for stage in self.stages:
            stage.fit(residual, iterations, seed)
            residual = residual - stage.decode(stage.encode(residual)).to(residual.dtype)
        return self

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of all stages, each turned back to the latents' own axes, for `impl.search`."""
        tables = [table for stage in self.stages for table in full_width(stage.codeword_tables(), self.dim)]
        return CodewordTables(tables, [0] * len(tables))

    def _encode(self, vectors: Tensor) -> Tensor:
        columns, residual = [], vectors
        for stage in self.stages:
            columns.append(stage._encode(residual))
            residual = residual - stage._decode(columns[-1]).to(residual.dtype)
        return torch.cat(columns, dim=1)

    def _decode(self, codes: Tensor) -> Tensor:
        columns = codes.split([len(stage.codebook_sizes) for stage in self.stages], dim=1)
        return sum(stage._decode(own) for stage, own in zip(self.stages, columns, strict=True))

    def _quantize(self, vectors: Tensor) -> Quantized:
        total, columns, losses = torch.zeros_like(vectors), [], {}
        for stage in self.stages:
            residual = vectors - total.detach()
            found = stage._quantize(residual)
            columns.append(found.codes)
            for name, loss in found.losses.items():
                losses[name] = losses.get(name, 0) + loss / len(self.stages)
            # The stage's gradient path belongs to the residual; the sum gets one of its own below.
            total = total + found.latents.detach()
        return Quantized(straight_through(vectors, total), torch.cat(columns, dim=1), losses)


def full_width(tables: CodewordTables, dim: int) -> list[Tensor]:
    """Return codewords (K_m, D) without rotation that decode to the same vectors."""
    wide = []
    for codewords, start in zip(tables.codewords, tables.starts, strict=True):
        padded = codewords.new_zeros(len(codewords), dim)
        padded[:, start : start + codewords.shape[1]] = codewords
        wide.append(padded if tables.rotation is None else padded @ tables.rotation.T.to(padded.dtype))
    return wide
