"""VQGAN: VQ-VAE told what to keep by a perceptual distance and by a critic.

Parts: VQ-VAE's quantizer with its codebook loss (`quantizers.vq_vae`), the convolutional autoencoder
(`tokenizers.image.autoencoder`), perceptual distance (`objectives.perceptual`), patch critic
(`networks.discriminators`), hinge losses and adaptive weight (`objectives.adversarial`).
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.images import photo_patches
from impl.networks.convolutional import ConvDecoder, ConvEncoder
from impl.networks.discriminators import PatchDiscriminator
from impl.objectives.adversarial import adaptive_weight, discriminator_hinge, generator_hinge, held
from impl.objectives.perceptual import PerceptualDistance
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.base import Tokenized
from impl.tokenizers.image.autoencoder import ImageAutoencoder


class VQGAN(ImageAutoencoder):
    """VQGAN (esser2021taming), the tokenizer: images (B, C, H, W) to codes (B, h, w, 1).

    Reconstruction is mean |x - x^| plus the perceptual distance. From training pass `adversarial_start` on a critic of
    patches adds -mean D(x^), weighed by how hard both pull the decoder's last layer (`adaptive_weight`) and by
    `adversarial_weight`; and learns, in the same pass, from half its hinge loss on x and on x^ detached.

    Args:
        channels: C.
        dim: D, of latents and codewords.
        codebook_size: K.
        width: channels inside the autoencoder.
        downsamplings: a token stands for 2^downsamplings pixels a side.
        perceptual: the distance; None for the one of random filters, which needs no download.
        perceptual_weight: of it.
        adversarial_weight: of the critic's term, on top of the adaptive weight.
        adversarial_start: training passes before the critic comes in; it pays to have an autoencoder by then.
        critic_width: channels after the critic's first layer.
        critic_downsamplings: how often the critic halves its map.
    """

    modality = "image"
    #: 64 codes for 4 x 4 pixels each.
    SMALL: ClassVar[dict[str, Any]] = {
        "channels": 3,
        "dim": 8,
        "codebook_size": 64,
        "width": 8,
        "downsamplings": 2,
        "adversarial_start": 0,
        "critic_width": 8,
        "critic_downsamplings": 2,
    }
    passes: Tensor

    def __init__(
        self,
        channels: int = 3,
        dim: int = 256,
        codebook_size: int = 1024,
        width: int = 128,
        downsamplings: int = 4,
        perceptual: PerceptualDistance | None = None,
        perceptual_weight: float = 1.0,
        adversarial_weight: float = 0.8,
        adversarial_start: int = 250_000,
        critic_width: int = 64,
        critic_downsamplings: int = 3,
    ) -> None:
        encoder = ConvEncoder(channels, dim, width, downsamplings)
        super().__init__(
            VectorQuantizer(dim, codebook_size), encoder, ConvDecoder(dim, channels, width, downsamplings)
        )
        self.channels, self.hop = channels, 2**downsamplings
        self.perceptual = PerceptualDistance.random(channels) if perceptual is None else perceptual
        self.perceptual_weight, self.adversarial_weight = perceptual_weight, adversarial_weight
        self.adversarial_start = adversarial_start
        self.critic = PatchDiscriminator(channels, critic_width, critic_downsamplings)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @classmethod
    def tiny(cls, seed: int = 0) -> "VQGAN":
        """Return a small working instance; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(**cls.SMALL)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return patches of photographs that `tiny` takes: (count, 3, 16, 16)."""
        return draw_rows(photo_patches("train", 16), count, seed)

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight of the decoder's last layer, at which the losses' pulls are compared."""
        return self.decoder.layers[-1].weight

    def forward(self, images: Tensor) -> Tokenized:
        """Return reconstruction, codes and the losses, the critic's own among them."""
        quantized, codes, losses = self.quantizer(self.latents(images))
        reconstruction = self._decoded(quantized)
        losses = {
            "reconstruction": F.l1_loss(reconstruction, images),
            "perceptual": self.perceptual_weight * self.perceptual(reconstruction, images),
            **losses,
        }
        # Both terms are there from the first pass, at nothing: training wants the same losses in every step.
        active = (self.passes >= self.adversarial_start).to(reconstruction.dtype)
        adversarial = generator_hinge(held(self.critic, reconstruction)[0])
        pixels = losses["reconstruction"] + losses["perceptual"]
        weight = self.adversarial_weight * adaptive_weight(pixels, adversarial, self.last_layer)
        losses["adversarial"] = active * weight * adversarial
        real, fake = self.critic(images)[0], self.critic(reconstruction.detach())[0]
        losses["critic"] = active / 2 * discriminator_hinge(real, fake)
        if self.training:
            self.passes += 1
        return Tokenized(reconstruction, codes, losses)
