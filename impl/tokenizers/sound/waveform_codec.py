"""The shared part of neural codecs of waveforms: causal convolutions down, residual codes, causal convolutions up.

Parts: SEANet encoder and decoder (`networks.seanet`), residual VQ moved by EMA (`quantizers.rvq`), mel distance
(`objectives.spectral`). A method says what its losses are.
"""

import math
from typing import ClassVar

from torch import Tensor

from impl.data.sound import sounds
from impl.networks.seanet import seanet_decoder, seanet_encoder
from impl.objectives.spectral import MultiScaleMel
from impl.quantizers.rvq import ResidualVQ
from impl.tokenizers.base import Tokenized, Tokenizer


class WaveformCodec(Tokenizer):
    """Waveforms (B, C, N) to codes (B, T, M), T = ceil(N / product of strides).

    A prefix of the code columns decodes too, at a lower rate: training draws the number of codebooks of each batch
    from `depths`.

    Args:
        sample_rate: in Hz.
        channels: C.
        width: channels of the first layer.
        strides: of the encoder.
        dim: D, of the latents.
        codebook_size: K of each codebook.
        num_codebooks: M.
        depths: numbers of codebooks to train for; they set the bit rates.
        dilations: of the residual units before each stride.
        lstm_layers: at the rate of the codes.
        padding: "reflect" or "zeros", which makes the codec exactly causal and able to stream.
    """

    part_of: ClassVar[str] = "the shared part of neural codecs of waveforms"
    modality = "sound"

    def __init__(
        self,
        sample_rate: int,
        channels: int,
        width: int,
        strides: tuple[int, ...],
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        depths: tuple[int, ...],
        dilations: tuple[int, ...],
        lstm_layers: int,
        padding: str,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.hop = sample_rate, channels, math.prod(strides)
        shape = (channels, dim, width, strides, dilations, lstm_layers, padding)
        self.encoder, self.decoder = seanet_encoder(*shape), seanet_decoder(*shape)
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
        self.check_samples(samples)
        return self.conditioned(self.encoder(samples).transpose(1, 2))

    def check_samples(self, samples: Tensor) -> None:
        """Raise TypeError for integers and ValueError for anything but (B, C, N) with N at least 1."""
        if not samples.is_floating_point():
            raise TypeError(f"samples must be floating point in [-1, 1], got {samples.dtype}.")
        if samples.ndim != 3 or samples.shape[1] != self.channels or not samples.shape[2]:
            raise ValueError(
                f"samples must be (batch, {self.channels}, length), got shape {tuple(samples.shape)}."
            )

    def conditioned(self, latents: Tensor) -> Tensor:
        """Return latents (B, T, D) as they are quantized: here as they are."""
        return latents

    def encode(self, samples: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return codes (B, T, M), or the first `num_codebooks` columns, of waveforms (B, C, N)."""
        return self.quantizer.encode(self.latents(samples))[..., :num_codebooks]

    def decode(self, codes: Tensor) -> Tensor:
        """Return waveforms (B, C, T hop) of codes (B, T, m), m at most M."""
        return self.decoder(self.quantizer.decode(codes).transpose(1, 2))

    def forward(self, samples: Tensor) -> Tokenized:
        """Return the reconstruction (B, C, N), the codes and the losses, the critics' own among them."""
        return self.finished(self.latents(samples), samples)

    def finished(self, latents: Tensor, target: Tensor) -> Tokenized:
        """Quantize and decode latents (B, T, D), and compare with the target (B, C, N)."""
        quantized, codes, losses = self.quantizer(latents)
        reconstruction = self.decoder(quantized.transpose(1, 2))[..., : target.shape[-1]]
        losses = {**losses, **self.code_losses(target, latents, codes)}
        return Tokenized(reconstruction, codes, {**self.objectives(reconstruction, target), **losses})

    def objectives(self, reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of a reconstruction (B, C, N), and the critics' own."""
        raise NotImplementedError

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
        return self.quantizer.encode(self.conditioned(latents.transpose(1, 2))), state
