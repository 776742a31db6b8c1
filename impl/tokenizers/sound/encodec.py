"""EnCodec: a causal waveform codec with residual codes, trained against a critic of spectrograms.

Parts: the codec (`waveform_codec`), spectrogram critics and hinge losses (`networks.spectrogram_discriminator`,
`objectives.adversarial`); what is new is an LSTM at the rate of the codes, that a balancer gives every loss its share
of the gradient (`objectives.balancer`), and that a small model of the codes makes them fewer bytes (`code_model`).
"""

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from impl.networks.spectrogram_discriminator import SpectrogramDiscriminator
from impl.objectives.adversarial import discriminator_hinge, feature_matching, generator_hinge
from impl.objectives.balancer import Balancer
from impl.tokenizers.sound.waveform_codec import WaveformCodec


class EnCodec(WaveformCodec):
    """EnCodec (defossez2023high). The defaults are those of the released 24 kHz model.

    Args:
        sample_rate, channels, width, strides, dim, codebook_size, num_codebooks, depths, lstm_layers: of the codec.
        padding: "reflect" as released, or "zeros", which makes the codec exactly causal and able to stream.
        weights: name -> share of the gradient; without "adversarial" and "features" there are no critics.
    """

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
        network = (sample_rate, channels, width, strides)
        codes = (dim, codebook_size, num_codebooks, depths)
        super().__init__(*network, *codes, dilations=(1,), lstm_layers=lstm_layers, padding=padding)
        weights = self.WEIGHTS if weights is None else weights
        self.critic = SpectrogramDiscriminator() if "adversarial" in weights else None
        self.balancer = Balancer(weights)

    def objectives(self, reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the balanced losses of a reconstruction (B, C, N), and the critics' own."""
        generator = {"time": F.l1_loss(reconstruction, target), "mel": self.mel(reconstruction, target)}
        critic = {}
        if self.critic is not None:
            real, fake = self.critic(target), self.critic(reconstruction)
            generator["adversarial"] = generator_hinge(fake[0])
            generator["features"] = feature_matching(real[1], fake[1])
            critic["critic"] = discriminator_hinge(real[0], self.critic(reconstruction.detach())[0])
        if self.training and reconstruction.requires_grad:
            # The balancer passes on gradients of the reconstruction alone: the critics learn from their own loss only.
            return {"balanced": self.balancer(generator, reconstruction), **critic}
        return {**{name: self.balancer.weights[name] * loss for name, loss in generator.items()}, **critic}
