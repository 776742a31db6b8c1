"""Product quantization: the latent is cut into M parts, each with a codebook of its own.

Parts: one VQ-VAE quantizer a part (`vq_vae`); what is new is the cut.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.tables import CodewordTables
from impl.quantizers.vq_vae import VectorQuantizer


class ProductQuantizer(Quantizer):
    """Product quantization (jegou2011product), fitted by k-means or trained inside an autoencoder.

    M parts of D / M dimensions are quantized alone, so M codebooks of K codewords stand for K^M latents at
    the price of K D numbers. The squared error is the sum of the parts' errors. `fit` runs k-means in each
    subspace, as the paper does.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        **options: of `VectorQuantizer`, for every part.

    Raises:
        ValueError: M does not divide D.
    """

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, **options: object) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.num_codebooks = positive_integer("num_codebooks", num_codebooks)
        if dim % num_codebooks:
            raise ValueError(
                f"num_codebooks must divide dim, got num_codebooks={num_codebooks} and dim={dim}."
            )
        self.codebook_sizes = (codebook_size,) * num_codebooks
        width = dim // num_codebooks
        self.parts = nn.ModuleList(
            VectorQuantizer(width, codebook_size, **options) for _ in range(num_codebooks)
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords, moved by EMA and started by k-means."""
        return cls(dim, 8, 2, update="ema", decay=0.9, initialization="kmeans")

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Fit each part's codebook by k-means on its dimensions of vectors (N, D)."""
        for part, slice_ in zip(self.parts, self._slices(self._vectors(vectors)), strict=True):
            part.fit(slice_, iterations, seed)
        return self

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every part, each over its own dimensions, for `impl.search`."""
        tables = [part.codewords().detach() for part in self.parts]
        return CodewordTables(tables, [index * tables[0].shape[1] for index in range(self.num_codebooks)])

    def _slices(self, vectors: Tensor) -> tuple[Tensor, ...]:
        return vectors.chunk(self.num_codebooks, dim=1)

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
        pairs = zip(self.parts, codes.split(1, dim=1), strict=True)
        return torch.cat([part._decode(column) for part, column in pairs], dim=1)
