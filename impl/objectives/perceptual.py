"""How far two images are apart for a fixed network of features instead of for pixels."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PerceptualDistance(nn.Module):
    """Squared distance of unit-length features, averaged over places and summed over stages: LPIPS with weights of one
    (esser2021taming takes LPIPS with learned ones).

    Args:
        stages: networks one after another, each fed with what the one before gives; frozen here. For LPIPS as published
            these are the five stages of a trained VGG-16.
    """

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages).eval().requires_grad_(False)

    @classmethod
    def random(cls, channels: int = 3, width: int = 16, depth: int = 3, seed: int = 0) -> Self:
        """Return the distance for random filters of 3 x 3 pixels at `depth` resolutions: needs no trained network.

        The same seed gives the same filters; torch's own random state stays as it is.
        """
        generator, stages = torch.Generator().manual_seed(seed), []
        for stage in range(depth):
            given, wide = channels if stage == 0 else width * 2 ** (stage - 1), width * 2**stage
            convolution = nn.Conv2d(given, wide, 3, padding=1)
            with torch.no_grad():
                filters = torch.randn(convolution.weight.shape, generator=generator) / (4.5 * given) ** 0.5
                convolution.weight.copy_(filters)
                convolution.bias.copy_(0.1 * torch.randn(wide, generator=generator))
            shrink = [nn.AvgPool2d(2)] if stage else []
            stages.append(nn.Sequential(*shrink, convolution, nn.ReLU()))
        return cls(stages)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the features are fixed."""
        return super().train(False)

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        """Return the distance, a scalar, of images (B, C, H, W); its gradient goes to both."""
        total, ours, theirs = reconstruction.new_zeros(()), reconstruction, target
        for stage in self.stages:
            ours, theirs = stage(ours), stage(theirs)
            difference = F.normalize(ours, dim=1, eps=1e-6) - F.normalize(theirs, dim=1, eps=1e-6)
            total = total + difference.square().sum(dim=1).mean()
        return total
