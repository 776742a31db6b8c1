"""An image autoencoder around any quantizer: encode, quantize, decode."""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.images import digits
from impl.networks.convolutional import ConvDecoder, ConvEncoder
from impl.quantizers.base import Quantizer
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.base import Tokenized, Tokenizer


class ImageAutoencoder(Tokenizer):
    """Encoder, quantizer and decoder trained for the squared error of the image.

    The encoder's channels (B, D, h, w) are the latents of an h x w grid of tokens; the quantizer sees them
    channels last. With the quantizer None the latents pass as they are: the continuous autoencoder that the
    discrete ones are compared with.

    Args:
        quantizer: of width D, or None.
        encoder: (B, C, H, W) to (B, D, h, w).
        decoder: (B, D, h, w) to (B, C, H, W).
    """

    part_of: ClassVar[str] = "vq-vae"

    def __init__(self, quantizer: Quantizer | None, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.quantizer, self.decoder = encoder, quantizer, decoder

    @classmethod
    def small(
        cls, quantizer: Quantizer | None, dim: int, channels: int = 3, width: int = 32, downsamplings: int = 2
    ) -> Self:
        """Build an autoencoder with the convolutional networks, 2^downsamplings pixels a token side."""
        encoder = ConvEncoder(channels, dim, width=width, downsamplings=downsamplings)
        return cls(quantizer, encoder, ConvDecoder(dim, channels, width=width, upsamplings=downsamplings))

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a VQ-VAE for 8 x 8 grey images: 4 x 4 tokens from 32 codes."""
        torch.manual_seed(seed)
        quantizer = VectorQuantizer(8, 32, update="ema", initialization="kmeans")
        return cls.small(quantizer, 8, channels=1, width=8, downsamplings=1)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return handwritten digits (count, 1, 8, 8), each seed its own."""
        return draw_rows(digits("train"), count, seed)

    def latents(self, images: Tensor) -> Tensor:
        """Return the encoder's latents (B, h, w, D), not yet quantized, of images (B, C, H, W)."""
        return self.encoder(images).permute(0, 2, 3, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes (B, h, w, M) of images (B, C, H, W)."""
        return self._required_quantizer().encode(self.latents(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Return images (B, C, H, W) of codes (B, h, w, M)."""
        return self._decoded(self._required_quantizer().decode(codes))

    def forward(self, images: Tensor) -> Tokenized:
        """Return the reconstruction, codes (M = 0 without a quantizer) and the losses, the squared error
        among them.
        """
        latents = self.latents(images)
        if self.quantizer is None:
            quantized, codes, losses = latents, latents.new_zeros(*latents.shape[:-1], 0).long(), {}
        else:
            quantized, codes, losses = self.quantizer(latents)
        reconstruction = self._decoded(quantized)
        error = F.mse_loss(reconstruction, images)
        if self.training and hasattr(self.quantizer, "anneal"):
            self._anneal(codes, images, error.detach())
        return Tokenized(reconstruction, codes, {"reconstruction": error, **losses})

    @torch.no_grad()
    def _anneal(self, codes: Tensor, images: Tensor, error: Tensor) -> None:
        """Tell a quantizer that is softer in training than in use what hard codes would cost at present."""
        self.quantizer.anneal(F.mse_loss(self.decode(codes), images) - error)

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.decoder(latents.permute(0, 3, 1, 2))

    def _required_quantizer(self) -> Quantizer:
        if self.quantizer is None:
            raise ValueError("quantizer must be set to encode to codes or decode from them, got None.")
        return self.quantizer
