"""Small fully connected encoder and decoder: a whole image to a row of tokens."""

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
