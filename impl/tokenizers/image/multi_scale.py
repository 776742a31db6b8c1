"""Images as a pyramid of codes: one code for the whole, then what is missing, on ever finer grids.

Parts: VQGAN's networks and losses (`vqgan`), nearest codewords (`quantizers.lookup`); new is the residual over scales.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.base import Quantized, mean_square
from impl.quantizers.gradients import straight_through
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.updates import kmeans_codewords
from impl.tokenizers.base import check_finite
from impl.tokenizers.image.vqgan import VQGAN


class PyramidQuantizer(nn.Module):
    """Multi-scale residual quantization with one codebook (tian2024visual): maps (B, h, w, D) to codes (B, L, 1).

    For each scale s: average what is left over an s x s grid, take the nearest codewords, enlarge them (bicubic; the
    last scale as it is), smooth them by half of a convolution, and subtract. The latent is the sum over scales;
    L = sum of s^2. The codebook learns from its own loss at every scale, the encoder from the commitment.

    Args:
        dim: D.
        codebook_size: K.
        scales: sides of the grids, ascending; the last is the map's.
        refinements: convolutions; a scale takes the one nearest to its place in the order.
        commitment_weight: beta.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        scales: tuple[int, ...],
        refinements: int = 2,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__()
        if list(scales) != sorted(set(scales)) or not scales or scales[0] < 1:
            raise ValueError(f"scales must ascend from at least 1, got {scales}.")
        self.dim, self.codebook_sizes, self.scales = dim, (codebook_size,), tuple(scales)
        self.commitment_weight = commitment_weight
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim) / dim**0.5)
        self.refinements = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(refinements))
        self.register_buffer("initialized", torch.tensor(False))

    def length(self, scales: int | None = None) -> int:
        """Return the number of codes of the first scales, by default of all."""
        return sum(side * side for side in self.scales[:scales])

    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (B, h, w, D); in training, the first batch sets the codebook by k-means."""
        if self.training and not self.initialized:
            with torch.no_grad():
                self.codebook.copy_(kmeans_codewords(latents.detach().flatten(0, 2), len(self.codebook)))
                self.initialized.fill_(True)
        check_finite(latents)
        maps, total, codes = latents.permute(0, 3, 1, 2), 0.0, []
        commitment = codebook = latents.new_zeros(())
        for index, column in self._walk(maps.detach()):
            codes.append(column)
            total = total + self.enlarged(column, index)
            commitment = commitment + mean_square(maps - total.detach())
            codebook = codebook + mean_square(maps.detach() - total)
        losses = {
            "commitment": self.commitment_weight * commitment / len(codes),
            "codebook": codebook / len(codes),
        }
        quantized = straight_through(maps, total).permute(0, 2, 3, 1)
        return Quantized(quantized, torch.cat(codes, dim=1)[..., None], losses)

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Return codes (B, L, 1) of latents (B, h, w, D)."""
        check_finite(latents)
        columns = [codes for _, codes in self._walk(latents.permute(0, 3, 1, 2))]
        return torch.cat(columns, dim=1)[..., None]

    def decode(self, codes: Tensor) -> Tensor:
        """Return latents (B, h, w, D) of codes (B, L, 1), or of those of the first few scales."""
        return sum(self.contributions(codes)).permute(0, 2, 3, 1)

    def contributions(self, codes: Tensor) -> list[Tensor]:
        """Return what each scale adds, (B, D, h, w) each, of codes of some first scales.

        Raises:
            ValueError: the number of codes is not that of some first scales, or a code is out of range.
        """
        lengths = [self.length(count) for count in range(1, len(self.scales) + 1)]
        if codes.ndim != 3 or codes.shape[2] != 1 or codes.shape[1] not in lengths:
            raise ValueError(f"codes must be (batch, one of {lengths}, 1), got shape {tuple(codes.shape)}.")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self.codebook):
            raise ValueError(f"codes must be in [0, {len(self.codebook)}), got others.")
        count = lengths.index(codes.shape[1]) + 1
        columns = codes[..., 0].split([side * side for side in self.scales[:count]], dim=1)
        return [self.enlarged(column, index) for index, column in enumerate(columns)]

    def enlarged(self, codes: Tensor, index: int) -> Tensor:
        """Return the codewords of scale `index`, codes (B, s^2), as a smoothed map (B, D, h, w)."""
        side, full = self.scales[index], self.scales[-1]
        words = self.codebook[codes].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if side != full:
            words = F.interpolate(words, size=(full, full), mode="bicubic")
        share = index / max(len(self.scales) - 1, 1)
        refine = self.refinements[round(share * (len(self.refinements) - 1))]
        return 0.5 * words + 0.5 * refine(words)

    def reduced(self, maps: Tensor, index: int) -> Tensor:
        """Return maps (B, D, h, w) averaged over the grid of scale `index`: (B, s^2, D)."""
        side = self.scales[index]
        return F.interpolate(maps, size=(side, side), mode="area").flatten(2).transpose(1, 2)

    @torch.no_grad()
    def _walk(self, maps: Tensor) -> Iterator[tuple[int, Tensor]]:
        if tuple(maps.shape[2:]) != (self.scales[-1],) * 2:
            raise ValueError(f"latents must be a map of side {self.scales[-1]}, got {tuple(maps.shape[2:])}.")
        rest = maps
        for index in range(len(self.scales)):
            vectors = self.reduced(rest, index)
            codes = nearest_codes(vectors.flatten(0, 1), self.codebook.detach()).unflatten(
                0, vectors.shape[:2]
            )
            yield index, codes
            rest = rest - self.enlarged(codes, index)


class MultiScaleVQVAE(VQGAN):
    """VAR's tokenizer (tian2024visual): images (B, C, H, W) to codes (B, L, 1), scale after scale.

    Args:
        dim: D.
        codebook_size: K.
        scales: of `PyramidQuantizer`; the last is the side of the encoder's map.
        numbers: others of `VQGAN`.
    """

    part_of: ClassVar[str] = "var"
    #: Images of 16 x 16 pixels as 1 + 4 + 9 + 16 codes of 64.
    SMALL: ClassVar[dict[str, Any]] = {
        **VQGAN.SMALL,
        "dim": 16,
        "width": 16,
        "scales": (1, 2, 3, 4),
        "adversarial_start": 10**9,
    }

    def __init__(self, dim: int, codebook_size: int, scales: tuple[int, ...], **numbers: Any) -> None:
        super().__init__(dim=dim, codebook_size=codebook_size, **numbers)
        self.quantizer = PyramidQuantizer(dim, codebook_size, tuple(scales))
