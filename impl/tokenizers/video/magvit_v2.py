"""MAGVIT-v2's tokenizer: images and videos through one causal network, and codes without a codebook.

Parts: causal 3-D convolutions (`networks.causal_3d`), lookup-free quantization (`quantizers.lfq`), perceptual distance
(`objectives.perceptual`), a critic of videos (`networks.video_discriminator`) with hinge losses and LeCAM
(`objectives.adversarial`, `objectives.lecam`).
"""

import math
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.batches import draw_rows
from impl.data.video import moving_digits
from impl.networks.causal_3d import CausalDecoder, CausalEncoder, Strides
from impl.networks.video_discriminator import VideoDiscriminator
from impl.objectives.adversarial import discriminator_hinge, generator_hinge, held
from impl.objectives.lecam import LeCAM
from impl.objectives.perceptual import PerceptualDistance
from impl.quantizers.lfq import LFQ
from impl.tokenizers.base import Tokenized, Tokenizer


class MAGVITv2(Tokenizer):
    """MAGVIT-v2, the tokenizer (yu2024language): videos (B, C, T, H, W) to codes (B, t, h, w, 1).

    T = 1 + n r frames give t = 1 + n, with r the reduction in time. An image is a video of one frame, and gets the
    codes that it would get as the first frame of any video. The code of a position is the binary number of the signs
    of its latent.

    Args:
        channels: C.
        bits: of a code; the latents are as wide.
        width: channels of the first stage.
        strides: (time, space) of each stage of the encoder.
        entropy_weight: of LFQ's entropies.
        perceptual_weight: of the distance of frames.
        adversarial_weight: of the critic's term; at 0 there is no critic.
        lecam_weight: of the critic's regularisation.
        critic_width: channels after the critic's first layer.
    """

    #: Grey videos of 16 x 16 pixels: 1 + 2 n frames to 1 + n times 4 x 4 codes of 8 bits.
    SMALL: ClassVar[dict[str, Any]] = {
        "channels": 1,
        "bits": 8,
        "width": 16,
        "strides": ((1, 2), (2, 2)),
        "perceptual_weight": 0.0,
        "adversarial_weight": 0.0,
    }

    def __init__(
        self,
        channels: int = 3,
        bits: int = 18,
        width: int = 128,
        strides: Strides = ((1, 2), (2, 2), (2, 2)),
        entropy_weight: float = 0.1,
        perceptual_weight: float = 0.1,
        adversarial_weight: float = 0.1,
        lecam_weight: float = 0.001,
        critic_width: int = 64,
    ) -> None:
        super().__init__()
        self.channels, self.strides = channels, tuple(map(tuple, strides))
        self.reduction = math.prod(time for time, _ in strides)
        self.hop = math.prod(space for _, space in strides)
        self.encoder = CausalEncoder(channels, bits, width, strides)
        self.quantizer = LFQ(bits, entropy_weight=entropy_weight)
        self.decoder = CausalDecoder(bits, channels, width, strides)
        self.perceptual_weight, self.adversarial_weight = perceptual_weight, adversarial_weight
        self.perceptual = PerceptualDistance.random(channels) if perceptual_weight else None
        self.critic = VideoDiscriminator(channels, critic_width) if adversarial_weight else None
        self.lecam, self.lecam_weight = LeCAM(), lecam_weight

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return bouncing digits that `tiny` takes: (count, 1, 5, 16, 16)."""
        return draw_rows(moving_digits("train").videos, count, seed)

    def grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Return (t, h, w) of the codes of a video of `frames` x `height` x `width`.

        Raises:
            ValueError: a video that the reductions do not divide.
        """
        if frames < 1 or (frames - 1) % self.reduction or height % self.hop or width % self.hop:
            legal = f"1 + a multiple of {self.reduction} frames and sides divisible by {self.hop}"
            raise ValueError(f"videos must have {legal}, got {frames} x {height} x {width}.")
        return 1 + (frames - 1) // self.reduction, height // self.hop, width // self.hop

    def latents(self, videos: Tensor) -> Tensor:
        """Return the latents (B, t, h, w, D), not yet quantized, of videos (B, C, T, H, W).

        Raises:
            ValueError: another number of channels or axes, or a video that the reductions do not divide.
            TypeError: the videos are not floating point.
        """
        if not videos.is_floating_point():
            raise TypeError(f"videos must be floating point, got {videos.dtype}.")
        if videos.ndim != 5 or videos.shape[1] != self.channels:
            legal = f"(B, {self.channels}, frames, height, width)"
            raise ValueError(f"videos must have shape {legal}, got {tuple(videos.shape)}.")
        self.grid(*videos.shape[2:])
        return self.encoder(videos).permute(0, 2, 3, 4, 1)

    def encode(self, videos: Tensor) -> Tensor:
        """Return codes (B, t, h, w, 1) of videos (B, C, T, H, W)."""
        return self.quantizer.encode(self.latents(videos))

    def decode(self, codes: Tensor) -> Tensor:
        """Return videos (B, C, T, H, W) of codes (B, t, h, w, 1)."""
        return self._decoded(self.quantizer.decode(codes))

    def forward(self, videos: Tensor) -> Tokenized:
        """Return reconstruction, codes and the losses, the critic's own among them."""
        quantized, codes, losses = self.quantizer(self.latents(videos))
        reconstruction = self._decoded(quantized)
        losses = {"reconstruction": F.mse_loss(reconstruction, videos), **losses}
        if self.perceptual is not None:
            ours, theirs = (x.transpose(1, 2).flatten(0, 1) for x in (reconstruction, videos))
            losses["perceptual"] = self.perceptual_weight * self.perceptual(ours, theirs)
        if self.critic is not None:
            losses["adversarial"] = self.adversarial_weight * generator_hinge(
                held(self.critic, reconstruction)[0]
            )
            real, fake = self.critic(videos)[0], self.critic(reconstruction.detach())[0]
            losses["critic"] = discriminator_hinge(real, fake) + self.lecam_weight * self.lecam(
                real[0], fake[0]
            )
        return Tokenized(reconstruction, codes, losses)

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.decoder(latents.permute(0, 4, 1, 2, 3))


class JointTraining(nn.Module):
    """A tokenizer trained on images and videos together: the mean of its losses on both.

    Called with a batch of (video, image) pairs, images (B, C, H, W).
    """

    def __init__(self, tokenizer: MAGVITv2) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.losses: dict[str, Tensor] = {}

    def forward(self, batch: tuple[Tensor, Tensor]) -> Self:
        """Reconstruct videos (B, C, T, H, W) and images (B, C, H, W)."""
        videos, images = batch
        moving, still = self.tokenizer(videos).losses, self.tokenizer(images[:, :, None]).losses
        self.losses = {name: (moving[name] + still[name]) / 2 for name in moving}
        return self
