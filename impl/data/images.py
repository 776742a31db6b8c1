"""Images: embedded ones at once and offline, released data sets where their files are on disk.

All images are float32 in [-1, 1], shaped (N, channels, height, width); all loaders are deterministic: same
arguments, same tensor, and each call returns a tensor of its own.
"""

import os
from functools import lru_cache
from importlib import resources

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from impl.data.files import locate, read_idx

SPLITS = ("train", "test")

PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "china": ("sklearn.datasets", "images/china.jpg"),
    "flower": ("sklearn.datasets", "images/flower.jpg"),
    "astronaut": ("skimage.data", "astronaut.png"),
    "chelsea": ("skimage.data", "chelsea.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
}
"""Photographs that ship inside the wheels of scikit-learn and scikit-image: name -> (package, file)."""

_CELL = 128  # side, in pixels, of the squares by which a photograph is divided into training and test regions
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
_VECTORS = {"train": 10_000, "test": 2_000}


def digits(split: str = "train") -> Tensor:
    """Load scikit-learn's handwritten digits: 1,797 grey images, 1,400 for training and 397 for testing.

    Returns:
        (N, 1, 8, 8) float32 in [-1, 1] (0 to 16 in the source).

    Raises:
        ValueError: `split` is neither "train" nor "test".
    """
    return _digits(_checked(split))[0].clone()


def digit_labels(split: str = "train") -> Tensor:
    """Load the digits' classes: (N,) int64 in 0 to 9, in the order of `digits(split)`."""
    return _digits(_checked(split))[1].clone()


def photograph(name: str) -> Tensor:
    """Load one of `PHOTOGRAPHS` whole: (3, height, width) float32 in [-1, 1], RGB.

    Raises:
        ValueError: no photograph has that name.
    """
    return torch.from_numpy(_pixels(name).transpose(2, 0, 1).copy())


def photo_patches(
    split: str = "train", size: int = 32, photographs: tuple[str, ...] = ("china", "flower")
) -> Tensor:
    """Cut photographs into square patches that overlap by half, in shuffled order.

    A photograph is a grid of 128-pixel squares, a fifth of which are the test region. A test patch lies
    inside one of these, a training patch touches none of them: no test pixel is ever trained on.
    scikit-learn's two photographs hold 1,950 patches of 32 pixels: 1,480 for training, 308 for testing, and
    162 that straddle the two regions and are left out.

    Args:
        split: "train" or "test".
        size: side of a patch in pixels, 2 to 128.
        photographs: names from `PHOTOGRAPHS`.

    Returns:
        (N, 3, size, size) float32 in [-1, 1], RGB.

    Raises:
        ValueError: an unknown split or photograph, no photograph, or a size outside 2 to 128.
    """
    return _photo_patches(_checked(split), _patch_size(size), tuple(photographs)).clone()


def patch_vectors(split: str = "train", size: int = 8, remove_mean: bool = False) -> Tensor:
    """Draw grey patches at random positions of scikit-learn's two photographs, flattened to vectors.

    10,000 training and 2,000 test vectors, from regions as disjoint as those of `photo_patches`.

    Args:
        split: "train" or "test".
        size: side of a patch in pixels, 2 to 64.
        remove_mean: subtract from each patch its own mean, which holds most of the variance.

    Returns:
        (N, size * size) float32; in [-1, 1] unless the mean is removed.

    Raises:
        ValueError: an unknown split, or a size outside 2 to 64.
    """
    vectors = _patch_vectors(_checked(split), _patch_size(size, 64))
    return vectors - vectors.mean(1, keepdim=True) if remove_mean else vectors.clone()


def fashion_mnist(split: str = "train", root: str | os.PathLike | None = None) -> Tensor:
    """Load Fashion-MNIST's images from its released files (idx, gzip-compressed or not).

    Looks in `fashion-mnist/` and `FashionMNIST/raw/` of the data folder for the release's own files, and
    where they are absent for two exact subsets: `train2k-*` (its first 2,000 training images) and
    `sprite900-*` (its 900 published samples, for testing).

    Args:
        split: "train" or "test".
        root: the data folder, or the data set's own; by default the folder that `CODEBOOK_DATA` names.

    Returns:
        (N, 1, 28, 28) float32 in [-1, 1].

    Raises:
        FileNotFoundError: the files are not there.
        ValueError: an unknown split, or a damaged file.
    """
    return _idx_images(_fashion_mnist_file(split, "images-idx3-ubyte", root))


def fashion_mnist_labels(split: str = "train", root: str | os.PathLike | None = None) -> Tensor:
    """Load Fashion-MNIST's classes: (N,) int64 in 0 to 9, in the order of `fashion_mnist(split, root)`."""
    return _idx_labels(_fashion_mnist_file(split, "labels-idx1-ubyte", root))


def mnist(split: str = "train", root: str | os.PathLike | None = None) -> Tensor:
    """Load MNIST's images from its released files.

    Looks in `mnist/`, `mnist-t10k/` and `MNIST/raw/` of the data folder. Arguments, returned tensor and
    errors are those of `fashion_mnist`.
    """
    return _idx_images(_mnist_file(split, "images-idx3-ubyte", root))


def mnist_labels(split: str = "train", root: str | os.PathLike | None = None) -> Tensor:
    """Load MNIST's classes: (N,) int64 in 0 to 9, in the order of `mnist(split, root)`."""
    return _idx_labels(_mnist_file(split, "labels-idx1-ubyte", root))


def _checked(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    return split


def _patch_size(size: int, largest: int = _CELL) -> int:
    if not isinstance(size, int) or not 2 <= size <= largest:
        raise ValueError(f"size must be a whole number of pixels from 2 to {largest}, got {size!r}")
    return size


def _permutation(n: int, seed: int) -> np.ndarray:
    # RandomState, not default_rng: numpy promises never to change its stream, so a split stays what it is.
    return np.random.RandomState(seed).permutation(n)


@lru_cache
def _digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # here: half a second that only this data set has to pay

    images, labels = load_digits(return_X_y=True)
    order = _permutation(len(images), seed=0)
    order = order[:1400] if split == "train" else order[1400:]
    scaled = torch.from_numpy(images[order]).float() / 8 - 1
    return scaled.reshape(-1, 1, 8, 8), torch.from_numpy(labels[order]).long()


@lru_cache
def _pixels(name: str) -> np.ndarray:
    """One photograph as (height, width, 3) float32 in [-1, 1]."""
    if name not in PHOTOGRAPHS:
        raise ValueError(f"photographs must be among {', '.join(PHOTOGRAPHS)}, got {name!r}")
    package, file = PHOTOGRAPHS[name]
    with resources.files(package).joinpath(file).open("rb") as stream, Image.open(stream) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 127.5 - 1


def _corners(height: int, width: int, size: int, step: int, split: str) -> np.ndarray:
    """Top-left corners (N, 2) of the windows that belong wholly to a split, in reading order."""
    rows, columns = np.arange(height)[:, None] // _CELL, np.arange(width)[None] // _CELL
    # A knight's move apart, so that the test region meets every row and column of squares.
    is_test = (rows + 2 * columns) % 5 == 0
    integral = np.pad(is_test.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = (
        np.arange(0, height - size + 1, step)[:, None],
        np.arange(0, width - size + 1, step)[None],
    )
    count = (
        integral[tops + size, lefts + size]
        - integral[tops, lefts + size]
        - integral[tops + size, lefts]
        + integral[tops, lefts]
    )
    return np.argwhere(count == (0 if split == "train" else size * size)) * step


@lru_cache
def _photo_patches(split: str, size: int, names: tuple[str, ...]) -> Tensor:
    if not names:
        raise ValueError(f"photographs must name at least one of {', '.join(PHOTOGRAPHS)}, got none")
    patches = []
    for name in names:
        pixels = _pixels(name)
        corners = _corners(*pixels.shape[:2], size, size // 2, split)
        patches += [pixels[top : top + size, left : left + size] for top, left in corners]
    order = _permutation(len(patches), seed=0)
    return torch.from_numpy(np.stack([patches[i] for i in order]).transpose(0, 3, 1, 2).copy())


@lru_cache
def _patch_vectors(split: str, size: int) -> Tensor:
    windows = []
    for name in ("china", "flower"):
        grey = _pixels(name) @ _GREY
        corners = _corners(*grey.shape, size, 1, split)
        views = np.lib.stride_tricks.sliding_window_view(grey, (size, size))
        windows.append((views, corners))
    first = len(windows[0][1])
    chosen = _permutation(sum(len(corners) for _, corners in windows), seed=1)[: _VECTORS[split]]
    vectors = np.empty((len(chosen), size * size), np.float32)
    for row, index in enumerate(chosen):
        views, corners = windows[0] if index < first else windows[1]
        top, left = corners[index if index < first else index - first]
        vectors[row] = views[top, left].ravel()
    return torch.from_numpy(vectors)


def _fashion_mnist_file(split: str, kind: str, root: str | os.PathLike | None) -> str:
    stems = {"train": ("train", "train2k"), "test": ("t10k", "sprite900")}[_checked(split)]
    return _released(stems, kind, ("fashion-mnist", "FashionMNIST/raw"), root)


def _mnist_file(split: str, kind: str, root: str | os.PathLike | None) -> str:
    stems = {"train": ("train",), "test": ("t10k",)}[_checked(split)]
    return _released(stems, kind, ("mnist", "mnist-t10k", "MNIST/raw"), root)


def _released(
    stems: tuple[str, ...], kind: str, folders: tuple[str, ...], root: str | os.PathLike | None
) -> str:
    return str(locate([f"{stem}-{kind}{end}" for stem in stems for end in (".gz", "")], folders, root))


def _idx_images(path: str) -> Tensor:
    images = read_idx(path)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(f"{path} must hold bytes (N, height, width), got {images.dtype} {images.shape}")
    return torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1


def _idx_labels(path: str) -> Tensor:
    labels = read_idx(path)
    if labels.dtype != np.uint8 or labels.ndim != 1:
        raise ValueError(f"{path} must hold bytes (N,), got {labels.dtype} {labels.shape}")
    return torch.from_numpy(labels).long()
