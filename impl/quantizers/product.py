"""The shared part of quantizers whose latent is cut into M parts with one table of codewords for each."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantizer, positive_integer
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
        if dim % num_codebooks:
            raise ValueError(
                f"num_codebooks must divide dim, got num_codebooks={num_codebooks} and dim={dim}."
            )
        self.codebook_sizes = (codebook_size,) * num_codebooks
        self.codebooks = nn.Parameter(torch.randn(num_codebooks, codebook_size, dim // num_codebooks))

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


def take_codewords(codebooks: Tensor, codes: Tensor) -> Tensor:
    """Return the codewords of codes (N, M) from codebooks (M, K, W), side by side: (N, M W)."""
    return codebooks[torch.arange(len(codebooks), device=codes.device), codes].flatten(1)


def nearest_in_parts(parts: Tensor, codebooks: Tensor) -> Tensor:
    """Return the codes (N, M) of the codewords nearest to parts (N, M, W) in their own codebook of (M, K, W)."""
    pairs = zip(parts.unbind(1), codebooks, strict=True)
    return torch.stack([nearest_codes(part.contiguous(), table) for part, table in pairs], dim=1)
