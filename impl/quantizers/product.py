"""The shared parts of quantizers whose latent is cut into M parts: a table of codewords for each, or any quantizer."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.tables import CodewordTables


class ProductCodebooks(Quantizer):
    """M tables of K codewords of D / M dimensions; the latent is one codeword of each, side by side.

    A method says how the codes of the parts are found and how the tables move.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, or M does not divide D.
    """

    part_of: ClassVar[str] = (
        "the shared part of quantizers with one table of codewords for each part of the latent"
    )

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.num_codebooks = positive_integer("num_codebooks", num_codebooks)
        self.codebook_sizes = (codebook_size,) * num_codebooks
        self.codebooks = nn.Parameter(
            torch.randn(num_codebooks, codebook_size, part_width(dim, num_codebooks))
        )

    def codewords(self) -> Tensor:
        """Return the tables (M, K, D / M) from which codes are decoded."""
        return self.codebooks

    def parts(self, vectors: Tensor) -> Tensor:
        """Cut vectors (N, D) into parts (N, M, D / M)."""
        return vectors.unflatten(1, (self.num_codebooks, self.dim // self.num_codebooks))

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every part, each over its own dimensions, for `impl.search`."""
        tables = list(self.codewords().detach())
        return CodewordTables(tables, [index * tables[0].shape[1] for index in range(self.num_codebooks)])

    def _decode(self, codes: Tensor) -> Tensor:
        return take_codewords(self.codewords(), codes)

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        sizes = f"codebook_size={self.codebook_size}, num_codebooks={self.num_codebooks}"
        return f"dim={self.dim}, {sizes}, bits={self.bits:g}"


class ProductOfQuantizers(Quantizer):
    """Parts of the latent, each with a quantizer of its own; their codes stand side by side.

    Args:
        parts: the quantizers; their widths add up to D.
    """

    part_of: ClassVar[str] = "the shared part of quantizers that are products of other quantizers"

    def __init__(self, parts: Sequence[Quantizer]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.dim = sum(part.dim for part in parts)
        self.codebook_sizes = tuple(size for part in parts for size in part.codebook_sizes)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Fit each part to its dimensions of vectors (N, D)."""
        for part, slice_ in zip(self.parts, self._slices(self._vectors(vectors)), strict=True):
            part.fit(slice_, iterations, seed)
        return self

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every part, each over its own dimensions, for `impl.search`."""
        codewords, starts, first = [], [], 0
        for part in self.parts:
            tables = part.codeword_tables()
            codewords += tables.codewords
            starts += [first + start for start in tables.starts]
            first += part.dim
        return CodewordTables(codewords, starts)

    def _slices(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return vectors.split([part.dim for part in self.parts], dim=1)

    def _quantize(self, vectors: Tensor) -> Quantized:
        found = [
            part._quantize(slice_) for part, slice_ in zip(self.parts, self._slices(vectors), strict=True)
        ]
        losses = {name: torch.stack([one.losses[name] for one in found]).mean() for name in found[0].losses}
        latents = torch.cat([one.latents for one in found], dim=1)
        return Quantized(latents, torch.cat([one.codes for one in found], dim=1), losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        pairs = zip(self.parts, self._slices(vectors), strict=True)
        return torch.cat([part._encode(slice_.contiguous()) for part, slice_ in pairs], dim=1)

    def _decode(self, codes: Tensor) -> Tensor:
        columns = codes.split([len(part.codebook_sizes) for part in self.parts], dim=1)
        return torch.cat([part._decode(own) for part, own in zip(self.parts, columns, strict=True)], dim=1)


def part_width(dim: int, parts: int) -> int:
    """Return D / M for M parts of equal width.

    Raises:
        ValueError: M does not divide D.
    """
    if dim % parts:
        raise ValueError(f"num_codebooks must divide dim, got num_codebooks={parts} and dim={dim}.")
    return dim // parts


def take_codewords(codebooks: Tensor, codes: Tensor) -> Tensor:
    """Return the codewords of codes (N, M) from codebooks (M, K, W), side by side: (N, M W)."""
    return codebooks[torch.arange(len(codebooks), device=codes.device), codes].flatten(1)


def nearest_in_parts(parts: Tensor, codebooks: Tensor) -> Tensor:
    """Return the codes (N, M) of the codewords nearest to parts (N, M, W) in their own codebook of (M, K, W)."""
    pairs = zip(parts.unbind(1), codebooks, strict=True)
    return torch.stack([nearest_codes(part.contiguous(), table) for part, table in pairs], dim=1)
