"""An autoencoder trained for the evidence bound, around a quantizer whose losses are in nats a vector."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from impl.objectives.likelihood import optimal_variance_loss
from impl.quantizers.sq_vae import GaussianSQ
from impl.tokenizers.base import Tokenized
from impl.tokenizers.image.autoencoder import ImageAutoencoder


class VariationalAutoencoder(ImageAutoencoder):
    """SQ-VAE as a whole (takida2022sqvae): images (B, C, H, W), encoder, stochastic quantizer, decoder.

    The loss is the negative evidence bound of an image up to a constant, divided by its number of values V = C H W:

        1/2 log MSE + (positions / V) (distance + entropy)

    that is, the paper's sums over positions and dimensions with the decoder's variance at its optimum. There is no
    weight to choose between the terms.

    Args:
        quantizer: its losses are in nats a vector.
        encoder: (B, C, H, W) to (B, D, h, w).
        decoder: (B, D, h, w) to (B, C, H, W).
    """

    part_of: ClassVar[str] = "sq-vae"

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return an SQ-VAE for 8 x 8 grey images: 4 x 4 tokens from 32 codes."""
        torch.manual_seed(seed)
        quantizer = GaussianSQ(8, 32, temperature_decay=0.01)
        return cls.small(quantizer, 8, channels=1, width=8, downsamplings=1)

    def forward(self, images: Tensor) -> Tokenized:
        """Return the reconstruction, the codes and the terms of the bound, in nats a value of the image."""
        output = super().forward(images)
        share = output.codes[0, ..., 0].numel() / images[0].numel()
        losses = {name: share * loss for name, loss in output.losses.items() if name != "reconstruction"}
        likelihood = optimal_variance_loss(output.reconstruction, images)
        return output._replace(losses={"reconstruction": likelihood, **losses})
