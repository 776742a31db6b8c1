"""Causal convolutions over video: what is computed for a frame depends on it and on the frames before it.

So a video's first frame is treated as an image is, and 1 + n r frames become 1 + n positions in time under a
reduction by r, and come back as 1 + n r. The normalisation takes each frame by itself: statistics over time would let
the past see the future.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Strides = Sequence[tuple[int, int]]  # (time, space) of each stage


class CausalConv3d(nn.Conv3d):
    """A convolution of video (B, C, T, H, W), padded in time on the left only.

    Args:
        width_in: channels of the input.
        width_out: channels of the output.
        kernel: frames, and pixels of a side; odd.
        stride: frames, and pixels of a side, from one output to the next.
    """

    def __init__(
        self, width_in: int, width_out: int, kernel: int = 3, stride: tuple[int, int] = (1, 1)
    ) -> None:
        time, space = stride
        super().__init__(
            width_in, width_out, kernel, stride=(time, space, space), padding=(0, kernel // 2, kernel // 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 1 + n r, H, W) to (B, C', 1 + n, H', W'), with r the stride in time."""
        return super().forward(F.pad(x, (0, 0, 0, 0, self.kernel_size[0] - 1, 0)))


class FrameNorm(nn.GroupNorm):
    """Group norm of every frame by itself."""

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__(math.gcd(width // 4, 32) if width % 4 == 0 else 1, width, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T, H, W)."""
        frames = super().forward(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=len(x))


class AdaptiveNorm(nn.Module):
    """Frame norm whose scale and shift come from the latents that a frame is decoded from (yu2024language).

    Of these, mean and spread over places. It starts as a plain norm.

    Args:
        width: channels to normalise.
        dim: D of the latents.
        rate: frames at this stage for each step of the latents in time.
    """

    def __init__(self, width: int, dim: int, rate: int) -> None:
        super().__init__()
        self.norm, self.rate = FrameNorm(width, affine=False), rate
        self.modulation = nn.Linear(2 * dim, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """Normalise (B, C, 1 + n rate, H, W) under latents (B, D, 1 + n, h, w)."""
        places = latents.flatten(3)
        spread = (places.var(dim=3, unbiased=False) + 1e-5).sqrt()
        statistics = torch.cat([places.mean(dim=3), spread], dim=1).transpose(1, 2)
        # Frame 0 comes from latent 0 alone, the next `rate` frames from latent 1.
        source = (torch.arange(x.shape[2], device=x.device) + self.rate - 1) // self.rate
        scale, shift = self.modulation(statistics[:, source]).transpose(1, 2)[..., None, None].chunk(2, dim=1)
        return (1 + scale) * self.norm(x) + shift


class CausalResidual(nn.Module):
    """Add to a video what two causal convolutions make of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            FrameNorm(width),
            nn.SiLU(),
            CausalConv3d(width, width),
            FrameNorm(width),
            nn.SiLU(),
            CausalConv3d(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return x + self.layers(x)


class DepthToSpace(nn.Module):
    """Enlarge a video by (time, space): a convolution gives the new frames and pixels as channels.

    The frames that would come before the first one are dropped: 1 + n become 1 + n times the factor.
    """

    def __init__(self, width: int, factor: tuple[int, int]) -> None:
        super().__init__()
        self.time, self.space = factor
        self.conv = CausalConv3d(width, width * self.time * self.space**2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, 1 + n, h, w) to (B, C, 1 + n time, h space, w space)."""
        pattern = "b (c r p q) t h w -> b c (t r) (h p) (w q)"
        large = rearrange(self.conv(x), pattern, r=self.time, p=self.space, q=self.space)
        return large[:, :, self.time - 1 :]


class CausalEncoder(nn.Module):
    """Video (B, C, T, H, W) to features (B, D, t, h, w): strided convolutions, a residual block after each.

    Args:
        channels: C.
        dim: D.
        width: channels of the first stage; each further one has twice as many, at most four times the first.
        strides: (time, space) of each stage.
    """

    def __init__(self, channels: int, dim: int, width: int, strides: Strides) -> None:
        super().__init__()
        layers, given = [], channels
        for wide, stride in zip(widths(width, strides), strides, strict=True):
            layers += [CausalConv3d(given, wide, stride=stride), CausalResidual(wide)]
            given = wide
        self.layers = nn.Sequential(*layers, FrameNorm(given), nn.SiLU(), CausalConv3d(given, dim, 1))

    def forward(self, videos: Tensor) -> Tensor:
        """Encode videos."""
        return self.layers(videos)


class CausalDecoder(nn.Module):
    """Features (B, D, t, h, w) to video (B, C, T, H, W), with the features steering the norms of each stage.

    Arguments are those of the encoder, strides in the encoder's order.
    """

    def __init__(self, dim: int, channels: int, width: int, strides: Strides) -> None:
        super().__init__()
        wides, rate = widths(width, strides)[::-1], 1
        self.first = CausalConv3d(dim, wides[0])
        norms, residuals, enlargements, narrowings = [], [], [], []
        for index, stride in enumerate(reversed(strides)):
            norms.append(AdaptiveNorm(wides[index], dim, rate))
            residuals.append(CausalResidual(wides[index]))
            enlargements.append(DepthToSpace(wides[index], stride))
            narrow = wides[min(index + 1, len(wides) - 1)]
            narrowings.append(CausalConv3d(wides[index], narrow, 1))
            rate *= stride[0]
        self.norms, self.residuals = nn.ModuleList(norms), nn.ModuleList(residuals)
        self.enlargements, self.narrowings = nn.ModuleList(enlargements), nn.ModuleList(narrowings)
        self.last = CausalConv3d(wides[-1], channels)
        self.last_norm = AdaptiveNorm(wides[-1], dim, rate)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents."""
        x = self.first(latents)
        stages = zip(self.norms, self.residuals, self.enlargements, self.narrowings, strict=True)
        for norm, residual, enlarge, narrow in stages:
            x = narrow(enlarge(residual(norm(x, latents))))
        return self.last(F.silu(self.last_norm(x, latents)))


def widths(width: int, strides: Strides) -> list[int]:
    """Return the channels of each stage."""
    return [width * 2 ** min(stage, 2) for stage in range(len(strides))]
