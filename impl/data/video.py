"""Video: handwritten digits that bounce in a box, and released frames where they are on disk.

All videos are float32 in [-1, 1], shaped (N, channels, frames, height, width); an image is a video of one frame.
"""

import os
import zipfile
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from impl.data.files import locate
from impl.data.images import SPLITS, digit_labels, digits

SIDE, DIGIT = 16, 8
TRAINING_SHARE = 0.8  # of the frames of a released video, the earlier ones


class Moving(NamedTuple):
    """Videos (N, 1, T, 16, 16), the digits (N,) in them and their velocities (N, 2) at the start, down and right."""

    videos: Tensor
    digits: Tensor
    velocities: Tensor


def moving_digits(split: str = "train", frames: int = 5) -> Moving:
    """Let each handwritten digit start at a random place of a box of 16 x 16 pixels and bounce off its walls.

    Velocities are whole pixels a frame, -2 to 2 each way and never both zero; places and velocities are drawn from
    fixed seeds. 1,400 videos for training, 397 for testing.

    Raises:
        ValueError: `split` is neither "train" nor "test", or no frames.
    """
    if not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames must be a whole number of at least 1, got {frames!r}.")
    videos, labels, velocities = _moving(split, frames)
    return Moving(videos.clone(), labels.clone(), velocities.clone())


def bounced(start: np.ndarray, velocity: np.ndarray, frames: int, room: int) -> np.ndarray:
    """Return the places (frames, ...) of points that start in [0, room] and turn round at its ends."""
    straight = start + np.arange(frames).reshape(-1, *[1] * start.ndim) * velocity
    folded = straight % (2 * room)
    return np.where(folded > room, 2 * room - folded, folded)


@lru_cache(maxsize=4)
def _moving(split: str, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    ink = digits(split)
    draws, room = np.random.RandomState(len(ink)), SIDE - DIGIT
    start = draws.randint(room + 1, size=(len(ink), 2))
    choices = np.array([(down, right) for down in range(-2, 3) for right in range(-2, 3) if down or right])
    velocities = choices[draws.randint(len(choices), size=len(ink))]
    videos = torch.full((len(ink), 1, frames, SIDE, SIDE), -1.0)
    for frame, places in enumerate(bounced(start, velocities, frames, room)):
        for row, (top, left) in enumerate(places):
            videos[row, :, frame, top : top + DIGIT, left : left + DIGIT] = ink[row]
    return videos, digit_labels(split), torch.from_numpy(velocities)


def released_video(
    split: str = "train", frames: int = 5, side: int = 16, root: str | os.PathLike | None = None
) -> Tensor:
    """Cut the released frames of a video into clips that overlap neither in place nor in time.

    Looks for `*_rgb.npz` of the shot from Big Buck Bunny in `video-bbb/` of the data folder: an array `frames`
    (T, H, W, 3) of bytes. The first 80 % of the frames are for training.

    Returns:
        (N, 3, frames, side, side), in the order of time and then of places.

    Raises:
        FileNotFoundError: the file is in none of the places named.
        ValueError: an unknown split, a damaged file, or one too small for a clip.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    path = locate(["bbb_132x64x64_rgb.npz", "bbb_132x72x128_rgb.npz"], ["video-bbb"], root)
    try:
        with np.load(path) as archive:
            shot = archive["frames"]
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no whole file of frames: {error}") from error
    if shot.dtype != np.uint8 or shot.ndim != 4 or shot.shape[3] != 3:
        raise ValueError(f"{path} must hold bytes (T, H, W, 3), got {shot.dtype} {shot.shape}")
    cut = int(TRAINING_SHARE * len(shot))
    return clips(shot[:cut] if split == "train" else shot[cut:], frames, side)


def clips(shot: np.ndarray, frames: int, side: int) -> Tensor:
    """Cut bytes (T, H, W, 3) into clips (N, 3, frames, side, side) in [-1, 1]; what is left at an end is not used.

    Raises:
        ValueError: the shot is smaller than one clip.
    """
    counts = [whole // part for whole, part in zip(shot.shape, (frames, side, side), strict=False)]
    if not all(counts):
        raise ValueError(f"a clip of {frames} x {side} x {side} must fit into the shot, got {shot.shape[:3]}")
    kept = torch.from_numpy(shot)[: counts[0] * frames, : counts[1] * side, : counts[2] * side]
    parts = kept.unflatten(0, (-1, frames)).unflatten(2, (-1, side)).unflatten(4, (-1, side))
    return parts.permute(0, 2, 4, 6, 1, 3, 5).flatten(0, 2).float() / 127.5 - 1
