"""Maps of features and of codes at several resolutions: encoders upwards, and codes of one place in one row."""

from collections.abc import Iterable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from impl.networks.convolutional import ConvEncoder
from impl.quantizers.base import Quantizer


def pyramid_encoders(channels: int, width: int, levels: int, downsamplings: int) -> nn.ModuleList:
    """Build the encoders of all levels, the top's first; the last sees images and each other what comes after it.

    Args:
        channels: of the images.
        width: channels of the features of every level.
        levels: how many; each has half the resolution of the next.
        downsamplings: how often the bottom level halves the images.
    """
    above = [ConvEncoder(width, width, width, downsamplings=1) for _ in range(levels - 1)]
    return nn.ModuleList([*above, ConvEncoder(channels, width, width, downsamplings)])


def pyramid_features(encoders: nn.ModuleList, samples: Tensor, hop: int) -> list[Tensor]:
    """Return the features (B, width, h 2^l, w 2^l) of each level l, the top's first, of images (B, C, h hop, w hop).

    Raises:
        ValueError: a height or width that `hop` does not divide.
    """
    height, width = samples.shape[-2:] if samples.ndim == 4 else (0, 0)
    if samples.ndim == 4 and (height % hop or width % hop):
        raise ValueError(f"samples must have a height and width divisible by {hop}, got {height} x {width}.")
    features = [encoders[-1](samples)]
    for encoder in reversed(encoders[:-1]):
        features.insert(0, encoder(features[0]))
    return features


def to_rows(grids: Sequence[Tensor]) -> Tensor:
    """Put codes (B, h 2^l, w 2^l, m) of each level l, the top first, into rows (B, h, w, M), M = m (1 + 4 + 16 ...).

    A row begins with the codes of a top token; those of the 4 tokens of the next level that lie under it follow, row by
    row, then of the 16 of the third level.
    """
    rows = [
        rearrange(grid, "b (h i) (w j) m -> b h w (i j m)", i=2**level, j=2**level)
        for level, grid in enumerate(grids)
    ]
    return torch.cat(rows, dim=-1)


def row_quantizers(levels: Iterable[Sequence[Quantizer]]) -> list[Quantizer]:
    """Return the quantizer of each column of a row, given those of each level, the top first."""
    return [quantizer for level, group in enumerate(levels) for _ in range(4**level) for quantizer in group]


def to_grids(codes: Tensor, levels: int, layers: int = 1) -> list[Tensor]:
    """Return codes (B, h 2^l, w 2^l, layers) of each level l, the top first: `to_rows` undone.

    Raises:
        ValueError: another number of axes or columns.
    """
    sizes = [layers * 4**level for level in range(levels)]
    if codes.ndim != 4 or codes.shape[-1] != sum(sizes):
        shape = f"(batch, height, width, {sum(sizes)}), got {tuple(codes.shape)}"
        raise ValueError(f"codes must have shape {shape}.")
    return [
        rearrange(part, "b h w (i j m) -> b (h i) (w j) m", i=2**level, m=layers)
        for level, part in enumerate(codes.split(sizes, dim=-1))
    ]
