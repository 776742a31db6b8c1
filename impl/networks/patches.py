"""Images as sequences of patches, what vision transformers read."""

import torch
from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    """Map images (B, C, side, side) to patches (B, n, D) in reading order, with learned positions added.

    Args:
        channels: C.
        side: of the images, in pixels.
        patch: side of a patch, a divisor of `side`.
        dim: D.

    Raises:
        ValueError: patches that do not tile the image.
    """

    def __init__(self, channels: int, side: int, patch: int, dim: int) -> None:
        super().__init__()
        if patch < 1 or side % patch or not side:
            raise ValueError(f"patch must divide a side of {side} pixels, got {patch}.")
        self.shape, self.grid = (channels, side, side), (side // patch, side // patch)
        self.project = nn.Conv2d(channels, dim, patch, stride=patch)
        # As large as what the patches give, so that a place is told from the first step.
        self.positions = nn.Parameter(0.5 * torch.randn(self.grid[0] * self.grid[1], dim))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Raises:
            ValueError: images of another shape.
            TypeError: the images are not floating point.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            legal = ", ".join(map(str, self.shape))
            raise ValueError(f"images must have shape (B, {legal}), got {tuple(images.shape)}.")
        if not images.is_floating_point():
            raise TypeError(f"images must be floating point, got {images.dtype}.")
        return self.project(images).flatten(2).transpose(1, 2) + self.positions
