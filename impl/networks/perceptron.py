"""Fully connected networks: plain ones, and a whole image to a row of tokens and back."""

import itertools
from collections.abc import Sequence

from einops.layers.torch import Rearrange
from torch import Tensor, nn


class PerceptronEncoder(nn.Module):
    """Encode an image as a row of feature vectors: (B, channels, side, side) to (B, dim, 1, tokens).

    Args:
        channels: channels of the images.
        side: height and width of the images in pixels.
        dim: features of each token.
        tokens: tokens an image.
        width: of the one hidden layer.
    """

    def __init__(self, channels: int, side: int, dim: int, tokens: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * side * side, width),
            nn.SiLU(),
            nn.Linear(width, tokens * dim),
            Rearrange("batch (tokens dim) -> batch dim 1 tokens", tokens=tokens),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, channels, side, side) to features (B, dim, 1, tokens)."""
        return self.layers(images)


class PerceptronDecoder(nn.Module):
    """The way back: (B, dim, 1, tokens) to (B, channels, side, side). Arguments as of the encoder."""

    def __init__(self, channels: int, side: int, dim: int, tokens: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Rearrange("batch dim 1 tokens -> batch (tokens dim)"),
            nn.Linear(tokens * dim, width),
            nn.SiLU(),
            nn.Linear(width, channels * side * side),
            nn.Unflatten(1, (channels, side, side)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, dim, 1, tokens) to images (B, channels, side, side)."""
        return self.layers(features)


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Build linear layers of the widths given, from the input's to the output's, with ReLU between them.

    Raises:
        ValueError: fewer than two widths, or one below 1.
    """
    if len(widths) < 2 or any(width < 1 for width in widths):
        raise ValueError(f"widths must be at least two numbers of at least 1, got {tuple(widths)}.")
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
