"""HQ-VAE: a ladder of stochastic quantizers, injected at each resolution and residual within it, under one bound.

Parts: SQ-VAE's posterior draw, one a layer (`quantizers.sq_vae`), its likelihood (`objectives.likelihood`), maps at
several resolutions (`pyramid`), convolutional networks (`networks.convolutional`); what is new is the bound of the
whole ladder and the two kinds of layers.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.images import photo_patches
from impl.networks.convolutional import ConvDecoder, ConvEncoder
from impl.objectives.likelihood import optimal_variance_loss
from impl.quantizers.base import full_precision, positive_integer
from impl.quantizers.sq_vae import Draw, GaussianSQ
from impl.tokenizers.base import Tokenized, Tokenizer, check_finite
from impl.tokenizers.image.pyramid import (
    pyramid_encoders,
    pyramid_features,
    row_quantizers,
    to_grids,
    to_rows,
)


class HQVAE(Tokenizer):
    """HQ-VAE (takida2024hqvae): images (B, C, H, W) to codes (B, h, w, M), h x w the grid of the top level.

    Encoders go up; quantization comes down, on a running sum Z of all that has been quantized. A level begins with an
    **injected** layer: Z is brought to its resolution, a network G sees it beside the level's features, and the latent
    G(features, up(Z)) is quantized. Further layers of the level are **residual**: each quantizes what the layers of the
    level before it left of that latent. All quantized latents are added to Z, and the image is decoded from Z.

    Every layer l draws from its own posterior softmax_k(-|r_l - c_k|^2 / (2 s_l^2)) with its own codebook and variance,
    and gradients flow through everything: no straight-through, no stop of gradients. The loss is the negative evidence
    bound of an image, up to a constant, over its number of values V:

        1/2 log MSE + 1/V sum_levels sum_positions ( |r_last - z_last|^2 / (2 sum_l s_l^2) + sum_l sum_k P_l log P_l )

    where r_last - z_last, what the last layer leaves, is the level's latent minus the sum of its quantized ones. With
    `layers=1` this is SQ-VAE-2, the stochastic VQ-VAE-2; with `levels=1` RSQ-VAE, the stochastic residual quantizer;
    with both 1 SQ-VAE; else the paper's hybrid.

    The codes of one place stand in one row: those of the top token, layer by layer, then those of the 4 tokens of the
    next level that lie under it, and so on.

    Args:
        channels: C.
        dim: D, of the codewords of every layer.
        codebook_size: K of every layer.
        levels: resolutions.
        layers: at each resolution, the first of them injected.
        width: channels inside the networks.
        downsamplings: of the bottom level.
        variance: s^2 of every layer at first.
        temperature_decay: of the relaxed draws.
    """

    modality = "image"
    #: 4 bottom and 1 top position for 8 x 8 pixels, 2 codes each.
    SMALL: ClassVar[dict[str, Any]] = {
        "channels": 3,
        "dim": 8,
        "codebook_size": 32,
        "width": 8,
        "temperature_decay": 0.01,
    }

    def __init__(
        self,
        channels: int = 3,
        dim: int = 64,
        codebook_size: int = 512,
        levels: int = 2,
        layers: int = 2,
        width: int = 128,
        downsamplings: int = 2,
        variance: float = 1.0,
        temperature_decay: float = 1e-5,
    ) -> None:
        super().__init__()
        self.levels, self.layers = positive_integer("levels", levels), positive_integer("layers", layers)
        self.channels, self.dim = channels, dim
        self.hop = 2 ** (downsamplings + levels - 1)
        # Everything below is in the order of quantization: the top first.
        self.encoders = pyramid_encoders(channels, width, levels, downsamplings)
        self.injections = nn.ModuleList(
            ConvEncoder(width + dim * (level > 0), dim, width, downsamplings=0) for level in range(levels)
        )
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1) for _ in range(levels - 1)
        )
        self.quantizers = nn.ModuleList(
            nn.ModuleList(GaussianSQ(dim, codebook_size, variance, temperature_decay) for _ in range(layers))
            for _ in range(levels)
        )
        self.decoder = ConvDecoder(dim, channels, width, downsamplings)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return patches of photographs that `tiny` takes: (count, 3, 16, 16)."""
        return draw_rows(photo_patches("train", 16), count, seed)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each column of a row of codes."""
        return tuple(quantizer.codebook_size for quantizer in row_quantizers(self.quantizers))

    @property
    def bits(self) -> float:
        """Bits of one row of codes: of one top token and of all tokens under it."""
        return sum(quantizer.bits for quantizer in row_quantizers(self.quantizers))

    def encode(self, samples: Tensor) -> Tensor:
        """Return codes (B, h, w, M) of images (B, C, H, W): the likeliest, layer by layer.

        Raises:
            ValueError: another number of channels, NaN or Inf, or a height or width that `hop` does not divide.
            TypeError: integers.
        """

        def likeliest(quantizer: GaussianSQ, vectors: Tensor) -> Draw:
            codes = quantizer.encode(vectors)
            return Draw(quantizer.decode(codes), codes[:, 0], vectors.new_zeros(()))

        with torch.no_grad():
            return self._descend(samples, likeliest)[1]

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, C, H, W) of codes (B, h, w, M)."""
        total = None
        for level, grid in enumerate(to_grids(codes, self.levels, self.layers)):
            columns = zip(self.quantizers[level], grid.split(1, dim=-1), strict=True)
            found = sum(quantizer.decode(column) for quantizer, column in columns)
            total = self._raised(level, total, found.permute(0, 3, 1, 2))
        return self.decoder(total)

    def forward(self, samples: Tensor) -> Tokenized:
        """Return reconstruction, codes, and the terms of the bound in nats a value of the image: for each level, the
        top first, its distance and the sum of its layers' entropy terms.
        """
        total, codes, losses = self._descend(samples, GaussianSQ.draw)
        reconstruction = self.decoder(total)
        likelihood = optimal_variance_loss(reconstruction, samples)
        return Tokenized(reconstruction, codes, {"reconstruction": likelihood, **losses})

    def quantize_level(
        self, level: int, latents: Tensor, draw: Callable[[GaussianSQ, Tensor], Draw] = GaussianSQ.draw
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantize latents (N, D) by the residual layers of a level.

        Returns:
            The sum (N, D) of what the layers decode to; the codes (N, layers); the mean over vectors of
            |r_last - z_last|^2 / (2 sum_l s_l^2); the mean of the layers' summed P log P.
        """
        group, columns = self.quantizers[level], []
        total, negative_entropy = torch.zeros_like(latents), 0.0
        for quantizer in group:
            found = draw(quantizer, latents - total)
            total = total + found.latents
            columns.append(found.codes)
            negative_entropy = negative_entropy + found.negative_entropy
        variance = sum(quantizer.variance for quantizer in group)
        distance = (latents - total).square().sum() / max(len(latents), 1) / (2 * variance)
        return total, torch.stack(columns, dim=1), distance, negative_entropy

    def _descend(
        self, samples: Tensor, draw: Callable[[GaussianSQ, Tensor], Draw]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Encode upwards, quantize downwards; return the sum (B, D, h', w') to decode, the codes, the losses."""
        features = pyramid_features(self.encoders, samples, self.hop)
        check_finite(samples)
        total, grids, losses = None, [], {}
        for level, seen in enumerate(features):
            above = None if total is None else self.upsamplers[level - 1](total)
            given = self.injections[level](seen if above is None else torch.cat([seen, above], dim=1))
            latents = given.permute(0, 2, 3, 1)
            vectors = latents.reshape(-1, self.dim)
            vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
            with full_precision(vectors):
                found, codes, distance, negative_entropy = self.quantize_level(level, vectors, draw)
            grids.append(codes.reshape(*latents.shape[:-1], self.layers))
            own = found.reshape(latents.shape).permute(0, 3, 1, 2).to(given.dtype)
            total = own if above is None else above + own
            share = latents[0, ..., 0].numel() / samples[0].numel()
            losses |= {f"distance_{level}": share * distance, f"entropy_{level}": share * negative_entropy}
        return total, to_rows(grids), losses

    def _raised(self, level: int, total: Tensor | None, own: Tensor) -> Tensor:
        """Add a level's latents (B, D, h, w) to the sum of those above it, brought to its resolution."""
        return own if total is None else self.upsamplers[level - 1](total) + own
