"""Small convolutional encoder and decoder for images, quick enough to train on one processor core."""

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Add to a feature map what two 3x3 convolutions make of it: (B, width, h, w) to the same shape."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            _norm(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            _norm(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same shape."""
        return x + self.layers(x)


class ConvEncoder(nn.Module):
    """Encode images as a smaller map of feature vectors.

    Strided convolutions come first and the residual block last: nearly all the work is done at the lowest
    resolution.

    Args:
        channels: channels of the images.
        dim: features of each position of the map.
        width: channels inside; the cost grows with its square.
        downsamplings: how often height and width are halved.

    Raises:
        ValueError: a size is not a whole number, or too small.
    """

    def __init__(self, channels: int, dim: int, width: int = 32, downsamplings: int = 2):
        super().__init__()
        _check_sizes(channels=channels, dim=dim)
        _check_sizes(least=2, width=width)
        _check_sizes(least=0, downsamplings=downsamplings)
        self.channels = channels
        self.dim = dim
        self.factor = 2**downsamplings
        layers: list[nn.Module] = []
        for step in range(downsamplings):
            layers += [nn.Conv2d(channels if step == 0 else width, width, 4, stride=2, padding=1), nn.SiLU()]
        # The block normalises what it reads, so the last strided convolution needs no activation of its own.
        layers = layers[:-1] or [nn.Conv2d(channels, width, 3, padding=1)]
        self.layers = nn.Sequential(
            *layers, ResidualBlock(width), _norm(width), nn.SiLU(), nn.Conv2d(width, dim, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, channels, H, W) to features (B, dim, H / 2^downsamplings, W / 2^downsamplings).

        Raises:
            ValueError: the wrong number of axes or channels, or a height or width that 2^downsamplings does
                not divide.
            TypeError: the images are not floating point.
        """
        _check_maps("images", images, self.channels)
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor or not height or not width:
            raise ValueError(
                f"images must have a height and width divisible by {self.factor}, got {height} x {width}"
            )
        return self.layers(images)


class ConvDecoder(nn.Module):
    """Decode a map of feature vectors into images: the mirror of `ConvEncoder`, without a final activation.

    Args:
        dim: features of each position of the map.
        channels: channels of the images.
        width: channels inside; the cost grows with its square.
        upsamplings: how often height and width are doubled.

    Raises:
        ValueError: a size is not a whole number, or too small.
    """

    def __init__(self, dim: int, channels: int, width: int = 32, upsamplings: int = 2):
        super().__init__()
        _check_sizes(dim=dim, channels=channels)
        _check_sizes(least=2, width=width)
        _check_sizes(least=0, upsamplings=upsamplings)
        self.dim = dim
        self.channels = channels
        layers: list[nn.Module] = []
        for step in range(upsamplings):
            # A kernel of twice the stride covers every pixel equally often: no checkerboard by construction.
            out = channels if step == upsamplings - 1 else width
            layers += [nn.SiLU(), nn.ConvTranspose2d(width, out, 4, stride=2, padding=1)]
        layers = layers or [nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1)]
        self.layers = nn.Sequential(
            nn.Conv2d(dim, width, 3, padding=1), ResidualBlock(width), _norm(width), *layers
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, dim, h, w) to images (B, channels, h * 2^upsamplings, w * 2^upsamplings).

        Raises:
            ValueError: the wrong number of axes or features, or an empty map.
            TypeError: the features are not floating point.
        """
        _check_maps("features", features, self.dim)
        if not features.shape[-1] or not features.shape[-2]:
            raise ValueError(
                f"features must have a height and width of at least 1, got {tuple(features.shape)}"
            )
        return self.layers(features)


def _norm(width: int) -> nn.GroupNorm:
    # Groups of four channels, or one group: a group must hold more than one value, and a map may be a single
    # position.
    return nn.GroupNorm(width // 4 if width % 4 == 0 else 1, width)


def _check_sizes(least: int = 1, **sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {size!r}")


def _check_maps(name: str, maps: Tensor, channels: int) -> None:
    if maps.ndim != 4 or maps.shape[1] != channels:
        raise ValueError(f"{name} must have shape (B, {channels}, height, width), got {tuple(maps.shape)}")
    if not torch.is_floating_point(maps):
        raise TypeError(f"{name} must be floating point, got {maps.dtype}")
