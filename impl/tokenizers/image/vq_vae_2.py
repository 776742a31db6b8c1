"""VQ-VAE-2: a hierarchy of maps of codes, coarse ones first, finer ones given what the coarser ones say.

Parts: VQ-VAE's quantizer moved by EMA, one a level (`quantizers.vq_vae`), maps at several resolutions (`pyramid`), a
convolutional decoder (`networks.convolutional`); what is new is that a level is quantized after it has seen the decoded
levels above it.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.images import photo_patches
from impl.networks.convolutional import ConvDecoder
from impl.quantizers.base import Quantized, positive_integer
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.base import Tokenized, Tokenizer
from impl.tokenizers.image.pyramid import (
    pyramid_encoders,
    pyramid_features,
    row_quantizers,
    to_grids,
    to_rows,
)


class VQVAE2(Tokenizer):
    """VQ-VAE-2 (razavi2019generating): images (B, C, H, W) to codes (B, h, w, M), h x w the grid of the top level.

    The bottom level has a token for 2^downsamplings pixels a side, each further level one for twice that. Encoders
    go up; quantization comes down: the top map is quantized first, and each lower one after the features of its level
    have been joined with what the levels above decode to. The image is decoded from all levels.

    The codes of one place stand in one row: column 0 is the top token, the next 4 columns are the tokens of the level
    below that lie under it, row by row, then the 16 of the third level. All of an image's codes take `bits` times h w.

    Args:
        channels: C.
        dim: D, of the codewords of every level.
        codebook_size: K of every level, or one for each, from the top down.
        levels: how many.
        width: channels inside the networks.
        downsamplings: of the bottom level.
        commitment_weight: beta, for each level.
        decay: of the moving averages that are the codebooks.
    """

    modality = "image"
    #: 4 bottom and 1 top token for 8 x 8 pixels.
    SMALL: ClassVar[dict[str, Any]] = {"channels": 3, "dim": 8, "codebook_size": 32, "width": 8}

    def __init__(
        self,
        channels: int = 3,
        dim: int = 64,
        codebook_size: int | tuple[int, ...] = 512,
        levels: int = 2,
        width: int = 128,
        downsamplings: int = 2,
        commitment_weight: float = 0.25,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        sizes = codebook_size if isinstance(codebook_size, tuple) else (codebook_size,) * levels
        if positive_integer("levels", levels, least=2) != len(sizes):
            raise ValueError(
                f"codebook_size must be one number or {levels}, from the top down, got {codebook_size}."
            )
        self.channels, self.dim, self.levels = channels, dim, levels
        self.hop = 2 ** (downsamplings + levels - 1)
        # Everything below is in the order of quantization: the top first.
        self.encoders = pyramid_encoders(channels, width, levels, downsamplings)
        self.conditions = nn.ModuleList(
            ConvDecoder(dim * above, dim, width, upsamplings=1) for above in range(1, levels)
        )
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(dim * above, dim * above, 4, stride=2, padding=1) for above in range(1, levels)
        )
        self.projections = nn.ModuleList(
            nn.Conv2d(width + dim * (level > 0), dim, 1) for level in range(levels)
        )
        self.quantizers = nn.ModuleList(
            VectorQuantizer(
                dim,
                size,
                update="ema",
                commitment_weight=commitment_weight,
                decay=decay,
                initialization="kmeans",
            )
            for size in sizes
        )
        self.decoder = ConvDecoder(dim * levels, channels, width, downsamplings)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return patches of photographs that `tiny` takes: (count, 3, 16, 16)."""
        return draw_rows(photo_patches("train", 16), count, seed)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each column: the top's, then the next level's four times, and so on."""
        columns = row_quantizers([quantizer] for quantizer in self.quantizers)
        return tuple(quantizer.codebook_size for quantizer in columns)

    @property
    def bits(self) -> float:
        """Bits of one row of codes: of one top token and of all tokens under it."""
        return sum(quantizer.bits for quantizer in row_quantizers([one] for one in self.quantizers))

    def encode(self, samples: Tensor) -> Tensor:
        """Return codes (B, h, w, M) of images (B, C, H, W).

        Raises:
            ValueError: another number of channels, NaN or Inf, or a height or width that `hop` does not divide.
            TypeError: integers.
        """

        def look_up(quantizer: VectorQuantizer, latents: Tensor) -> Quantized:
            codes = quantizer.encode(latents)
            return Quantized(quantizer.decode(codes), codes, {})

        with torch.no_grad():
            return to_rows([output.codes for output in self._descend(samples, look_up)[1]])

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, C, H, W) of codes (B, h, w, M)."""
        above = None
        for level, (quantizer, grid) in enumerate(zip(self.quantizers, self.grids(codes), strict=True)):
            above = self._joined(level, above, quantizer.decode(grid))
        return self.decoder(above)

    def forward(self, samples: Tensor) -> Tokenized:
        """Return reconstruction, codes, and the losses: the squared error and each level's commitment, the top's
        first.
        """
        above, outputs = self._descend(samples, lambda quantizer, latents: quantizer(latents))
        reconstruction = self.decoder(above)
        losses = {"reconstruction": F.mse_loss(reconstruction, samples)}
        for level, output in enumerate(outputs):
            losses |= {f"{name}_{level}": loss for name, loss in output.losses.items()}
        return Tokenized(reconstruction, to_rows([output.codes for output in outputs]), losses)

    def grids(self, codes: Tensor) -> list[Tensor]:
        """Return the map of codes (B, h 2^l, w 2^l, 1) of each level l, the top first, of codes (B, h, w, M).

        Raises:
            ValueError: another number of axes or columns.
        """
        return to_grids(codes, self.levels)

    def _descend(
        self, samples: Tensor, quantize: Callable[[VectorQuantizer, Tensor], Quantized]
    ) -> tuple[Tensor, list[Quantized]]:
        """Encode upwards and quantize downwards; return what the decoder sees and each level's output."""
        features = pyramid_features(self.encoders, samples, self.hop)
        above, outputs = None, []
        for level, quantizer in enumerate(self.quantizers):
            seen = features[level]
            if above is not None:
                seen = torch.cat([seen, self.conditions[level - 1](above)], dim=1)
            outputs.append(quantize(quantizer, self.projections[level](seen).permute(0, 2, 3, 1)))
            above = self._joined(level, above, outputs[-1].latents)
        return above, outputs

    def _joined(self, level: int, above: Tensor | None, latents: Tensor) -> Tensor:
        """Join the quantized latents (B, h, w, D) of a level to those above it, brought to its resolution."""
        own = latents.permute(0, 3, 1, 2)
        return own if above is None else torch.cat([self.upsamplers[level - 1](above), own], dim=1)
