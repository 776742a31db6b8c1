"""SoundStream: the first neural codec with residual codes, one model for all bit rates, which can also take noise away.

Parts: the codec (`waveform_codec`), critics of samples and of spectrograms (`networks.wave_discriminator`,
`networks.spectrogram_discriminator`), hinge and feature losses (`objectives.adversarial`); what is new is that training
uses a random number of codebooks, and that a switch at the bottleneck makes the codec denoise.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from impl.networks.spectrogram_discriminator import SpectrogramDiscriminator
from impl.networks.wave_discriminator import WaveDiscriminator
from impl.objectives.adversarial import discriminator_hinge, feature_matching, generator_hinge, held
from impl.tokenizers.base import Tokenized
from impl.tokenizers.sound.waveform_codec import WaveformCodec


class SoundStream(WaveformCodec):
    """SoundStream (zeghidour2022soundstream), the numbers of the paper at 24 kHz by default.

    Residual units of dilations 1, 3 and 9 before each stride, no recurrence, zero padding: it streams. With `noise`,
    half of each training batch is to be reconstructed as given, noise and all, half without the noise that was added;
    the encoder is told which by a scale and a shift of its latents. Afterwards `denoise` chooses.

    Args:
        sample_rate, channels, width, strides, dim, codebook_size, num_codebooks: of the codec.
        weights: of the losses; without "adversarial" and "features" there are no critics.
        noise: standard deviation of the noise that training adds; 0 for a codec without the switch.
    """

    #: As EnCodec's small configuration, so that the two can be compared.
    SMALL: ClassVar[dict[str, Any]] = {
        "sample_rate": 8000,
        "width": 8,
        "strides": (2, 4, 5),
        "dim": 32,
        "codebook_size": 64,
        "num_codebooks": 4,
        "weights": {"mel": 1.0, "time": 30.0},
        "noise": 0.05,
    }
    WEIGHTS: ClassVar[dict[str, float]] = {"mel": 1.0, "adversarial": 1.0, "features": 100.0}

    def __init__(
        self,
        sample_rate: int = 24_000,
        channels: int = 1,
        width: int = 32,
        strides: tuple[int, ...] = (2, 4, 5, 8),
        dim: int = 128,
        codebook_size: int = 1024,
        num_codebooks: int = 8,
        weights: dict[str, float] | None = None,
        noise: float = 0.0,
    ) -> None:
        depths = tuple(range(1, num_codebooks + 1))
        network = (sample_rate, channels, width, strides)
        codes = (dim, codebook_size, num_codebooks, depths)
        super().__init__(*network, *codes, dilations=(1, 3, 9), lstm_layers=0, padding="zeros")
        self.weights = self.WEIGHTS if weights is None else weights
        self.critics = None
        if "adversarial" in self.weights:
            self.critics = nn.ModuleList([WaveDiscriminator(), SpectrogramDiscriminator((256,))])
        self.noise, self.denoise = noise, False
        if noise:
            #: Scale and shift of the latents for each position of the switch, off and on.
            self.switch = nn.Parameter(torch.zeros(2, 2, dim))

    def conditioned(self, latents: Tensor, denoise: Tensor | None = None) -> Tensor:
        """Return latents (B, T, D) with the scale and shift of `denoise` (B,) bool, by default of the codec's own."""
        if not self.noise:
            return latents
        if denoise is None:
            denoise = torch.full((len(latents),), self.denoise, device=latents.device)
        scale, shift = self.switch[denoise.long()].unbind(dim=1)
        return latents * (1 + scale[:, None]) + shift[:, None]

    def forward(self, samples: Tensor) -> Tokenized:
        """Return the reconstruction (B, C, N), the codes and the losses, the critics' own among them."""
        if not (self.training and self.noise):
            return super().forward(samples)
        self.check_samples(samples)
        noisy = samples + self.noise * torch.randn_like(samples)
        denoise = torch.rand(len(samples), device=samples.device) < 0.5
        latents = self.conditioned(self.encoder(noisy).transpose(1, 2), denoise)
        return self.finished(latents, torch.where(denoise[:, None, None], samples, noisy))

    def objectives(self, reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of a reconstruction (B, C, N), and the critics' own."""
        losses = {"mel": self.mel(reconstruction, target)}
        if "time" in self.weights:
            losses["time"] = (reconstruction - target).abs().mean()
        own = {}
        if self.critics is not None:
            real, fake, detached = (
                [judge(critic, waveform) for critic in self.critics]
                for judge, waveform in (
                    (_judged, target),
                    (held, reconstruction),
                    (_judged, reconstruction.detach()),
                )
            )
            losses["adversarial"] = generator_hinge([logits for each in fake for logits in each[0]])
            losses["features"] = sum(
                feature_matching(r[1], f[1]) for r, f in zip(real, fake, strict=True)
            ) / len(self.critics)
            logits = ([one for each in judged for one in each[0]] for judged in (real, detached))
            own["critic"] = discriminator_hinge(*logits)
        return {**{name: self.weights[name] * loss for name, loss in losses.items()}, **own}


def _judged(critic: nn.Module, waveforms: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    return critic(waveforms)
