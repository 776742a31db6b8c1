"""EnCodec: a causal waveform codec with residual codes, trained against a critic of spectrograms.

Parts: SEANet encoder and decoder (`networks.seanet`), residual VQ moved by EMA (`quantizers.rvq`), mel distance
(`objectives.spectral`), spectrogram critics and hinge losses (`networks.spectrogram_discriminator`,
`objectives.adversarial`); what is new is that a balancer gives every loss its share of the gradient
(`objectives.balancer`), and that a small model of the codes turns them into fewer bytes (`code_model`).
"""

import math
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from impl.data.sound import sounds
from impl.networks.seanet import seanet_decoder, seanet_encoder
from impl.networks.spectrogram_discriminator import SpectrogramDiscriminator
from impl.objectives.adversarial import discriminator_hinge, feature_matching, generator_hinge
from impl.objectives.balancer import Balancer
from impl.objectives.spectral import MultiScaleMel
from impl.quantizers.rvq import ResidualVQ
from impl.tokenizers.base import Tokenized, Tokenizer


class EnCodec(Tokenizer):
    """EnCodec (defossez2023high): waveforms (B, C, N) to codes (B, T, M), T = ceil(N / product of strides).

    The defaults are those of the released 24 kHz model. A prefix of the code columns decodes too, at a lower rate:
    training draws the number of codebooks of each batch from `depths`.

    Args:
        sample_rate: in Hz.
        channels: C.
        width: channels of the first layer.
        strides: of the encoder.
        dim: D, of the latents.
        codebook_size: K of each codebook.
        num_codebooks: M.
        depths: numbers of codebooks to train for; they set the bit rates.
        lstm_layers: at the rate of the codes.
        padding: "reflect" as released, or "zeros", which makes the codec exactly causal and able to stream.
        weights: name -> share of the gradient; without "adversarial" and "features" there are no critics.
    """

    modality = "sound"
    #: A causal codec of 8 kHz sound without critics: 200 frames a second, 4 codebooks of 64, 4.8 kbit/s.
    SMALL: ClassVar[dict[str, Any]] = {
        "sample_rate": 8000,
        "width": 8,
        "strides": (2, 4, 5),
        "dim": 32,
        "codebook_size": 64,
        "num_codebooks": 4,
        "depths": (1, 2, 4),
        "lstm_layers": 1,
        "padding": "zeros",
        "weights": {"time": 1.0, "mel": 1.0},
    }
    #: Shares of the gradient in the released model.
    WEIGHTS: ClassVar[dict[str, float]] = {"time": 0.1, "mel": 1.0, "adversarial": 3.0, "features": 3.0}

    def __init__(
        self,
        sample_rate: int = 24_000,
        channels: int = 1,
        width: int = 32,
        strides: tuple[int, ...] = (2, 4, 5, 8),
        dim: int = 128,
        codebook_size: int = 1024,
        num_codebooks: int = 32,
        depths: tuple[int, ...] = (2, 4, 8, 16, 32),
        lstm_layers: int = 2,
        padding: str = "reflect",
        weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        weights = self.WEIGHTS if weights is None else weights
        self.sample_rate, self.channels, self.hop = sample_rate, channels, math.prod(strides)
        shape = (channels, dim, width, strides)
        self.encoder = seanet_encoder(*shape, lstm_layers=lstm_layers, padding=padding)
        self.decoder = seanet_decoder(*shape, lstm_layers=lstm_layers, padding=padding)
        self.quantizer = ResidualVQ(
            dim,
            codebook_size,
            num_codebooks,
            quantizer_dropout=depths,
            update="ema",
            initialization="kmeans",
            commitment_weight=1.0,
            revival_threshold=0.1,
        )
        self.mel = MultiScaleMel(sample_rate)
        self.critic = SpectrogramDiscriminator() if "adversarial" in weights else None
        self.balancer = Balancer(weights)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return waveforms that `tiny` takes: (count, 1, 4000)."""
        return sounds("train", count, 0.5)

    @property
    def frame_rate(self) -> float:
        """Frames of codes a second."""
        return self.sample_rate / self.hop

    def bit_rate(self, num_codebooks: int | None = None) -> float:
        """Bits a second of codes of fixed length, with the first `num_codebooks` codebooks (all by default)."""
        sizes = self.quantizer.codebook_sizes[:num_codebooks]
        return self.frame_rate * sum(math.log2(size) for size in sizes)

    def latents(self, samples: Tensor) -> Tensor:
        """Return the encoder's latents (B, T, D) of waveforms (B, C, N).

        Raises:
            ValueError: another number of channels or axes, no samples, NaN or Inf.
            TypeError: integers.
        """
        if not samples.is_floating_point():
            raise TypeError(f"samples must be floating point in [-1, 1], got {samples.dtype}.")
        if samples.ndim != 3 or samples.shape[1] != self.channels or not samples.shape[2]:
            raise ValueError(
                f"samples must be (batch, {self.channels}, length), got shape {tuple(samples.shape)}."
            )
        return self.encoder(samples).transpose(1, 2)

    def encode(self, samples: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return codes (B, T, M), or the first `num_codebooks` columns, of waveforms (B, C, N)."""
        return self.quantizer.encode(self.latents(samples))[..., :num_codebooks]

    def decode(self, codes: Tensor) -> Tensor:
        """Return waveforms (B, C, T hop) of codes (B, T, m), m at most M."""
        return self.decoder(self.quantizer.decode(codes).transpose(1, 2))

    def forward(self, samples: Tensor) -> Tokenized:
        """Return the reconstruction (B, C, N), the codes and the losses, the critics' own among them."""
        latents = self.latents(samples)
        quantized, codes, losses = self.quantizer(latents)
        losses = {**losses, **self.code_losses(samples, latents, codes)}
        reconstruction = self.decoder(quantized.transpose(1, 2))[..., : samples.shape[-1]]
        generator = {"time": F.l1_loss(reconstruction, samples), "mel": self.mel(reconstruction, samples)}
        critic = {}
        if self.critic is not None:
            real, fake = self.critic(samples), self.critic(reconstruction)
            generator["adversarial"] = generator_hinge(fake[0])
            generator["features"] = feature_matching(real[1], fake[1])
            critic["critic"] = discriminator_hinge(real[0], self.critic(reconstruction.detach())[0])
        if self.training and reconstruction.requires_grad:
            # The balancer passes on gradients of the reconstruction alone: the critics learn from their own loss only.
            balanced = {"balanced": self.balancer(generator, reconstruction)}
        else:
            balanced = {name: self.balancer.weights[name] * loss for name, loss in generator.items()}
        return Tokenized(reconstruction, codes, {**balanced, **losses, **critic})

    def code_losses(self, samples: Tensor, latents: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return losses of the codes (B, T, M) beside the quantizer's own: here none. A codec that wants more of its
        codes than reconstruction overrides this.
        """
        return {}

    def stream(self, frames: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """Decode the next codes (B, t, m) to the next waveforms (B, C, t hop).

        `state` is what the call before returned. The pieces put together are `decode` of all codes.

        Raises:
            ValueError: the codec was built with padding="reflect".
        """
        return self.decoder.step(self.quantizer.decode(frames).transpose(1, 2), state)

    def stream_encode(self, samples: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """Encode the next samples (B, C, t hop) to the next codes (B, t, M), as `stream` decodes."""
        latents, state = self.encoder.step(samples, state)
        return self.quantizer.encode(latents.transpose(1, 2)), state
