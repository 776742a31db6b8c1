"""A critic of videos: convolutions over time and space with blurred reduction, one logit a patch and frame."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurPool(nn.Module):
    """Halve height and width of (B, C, T, H, W) after smoothing with (1, 2, 1) / 4 each way.

    Plain strides alias: a pattern shifted by one pixel looks like another one to the critic.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (row[:, None] * row)[None, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, T, ceil(H / 2), ceil(W / 2))."""
        padded = F.pad(x, (1, 1, 1, 1, 0, 0), mode="replicate")
        kernel = self.kernel.to(x).expand(x.shape[1], -1, -1, -1, -1)
        return F.conv3d(padded, kernel, stride=(1, 2, 2), groups=x.shape[1])


class VideoDiscriminator(nn.Module):
    """The critic of MAGVIT-v2 (yu2024language), small.

    Args:
        channels: of the videos.
        width: channels after the first layer; each further one has twice as many.
        downsamplings: how often height and width are halved.
    """

    def __init__(self, channels: int = 3, width: int = 64, downsamplings: int = 3) -> None:
        super().__init__()
        layers, given = [], channels
        for step in range(downsamplings):
            wide = width * 2**step
            layers.append(nn.Sequential(nn.Conv3d(given, wide, 3, padding=1), nn.LeakyReLU(0.2), BlurPool()))
            given = wide
        self.layers = nn.ModuleList(layers)
        self.head = nn.Conv3d(given, 1, 1)

    def forward(self, videos: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return logits of videos (B, C, T, H, W), high for real, and the layers' outputs, each in a list of one."""
        features, x = [], videos
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return [self.head(x)], [features]
