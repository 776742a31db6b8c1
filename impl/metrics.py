"""Measures of tokenizers: what a reconstruction lost, how a codebook is used, how many bits a sample takes.

Images are (B, C, H, W), floating point; measures of them are Python floats. Measures of codes take codes as a
quantizer gives them, and the size of the codebook:

- an integer `codebook_size`: all codes, of whatever shape, belong to one codebook; the answer is a scalar
  tensor;
- a tuple of M sizes: `codes` is (..., M), one column per codebook; the answer is a tensor (M,), one number
  per codebook, whose `.mean()` is the number to report for all of them.

Entropies are in bits. They cost memory in proportion to the codes, not to the codebook: a codebook of 2^40
codes that no table could hold is measured as well.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Sizes = int | tuple[int, ...]


def mse(reconstruction: Tensor, target: Tensor) -> float:
    """Mean squared error over all samples and elements, for tensors of any one shape.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    reconstruction, target = _pair(reconstruction, target)
    return (reconstruction - target).square().mean().item()


def psnr(reconstruction: Tensor, target: Tensor, data_range: float = 2.0) -> float:
    """Peak signal-to-noise ratio in decibels, of each image, averaged over the images.

    Args:
        reconstruction: (B, C, H, W).
        target: (B, C, H, W).
        data_range: the distance between the smallest and the largest legal value: 2 for images in [-1, 1].

    Returns:
        The mean of 10 log10(data_range^2 / error of the image); infinite when an image is met exactly.

    Raises:
        ValueError: the shapes differ or are not (B, C, H, W), no image, or a range that is not positive.
    """
    reconstruction, target = _images(reconstruction, target, data_range)
    from torchmetrics.functional.image import peak_signal_noise_ratio  # here: a second that few calls need

    return peak_signal_noise_ratio(reconstruction, target, data_range, dim=(1, 2, 3)).item()


def ssim(reconstruction: Tensor, target: Tensor, data_range: float = 2.0, lowest: float = -1.0) -> float:
    """Structural similarity of each image, averaged over the images: 1 for equal images.

    The window is the customary 11 x 11 Gaussian of deviation 1.5. For images with a side below 11 it is
    uniform, of the largest odd width that fits, at most 7. Windows that reach beyond the border are left out.

    Args:
        reconstruction: (B, C, H, W).
        target: (B, C, H, W).
        data_range: the distance between the smallest and the largest legal value: 2 for images in [-1, 1].
        lowest: the smallest legal value. It is black: one factor of SSIM compares intensities, which start at 0.

    Raises:
        ValueError: the shapes differ or are not (B, C, H, W), no image, a side below 3 pixels, or a range
            that is not positive.
    """
    reconstruction, target = _images(reconstruction, target, data_range)
    side = min(target.shape[-2:])
    if side < 3:
        raise ValueError(
            f"images must be at least 3 x 3 for ssim, got {' x '.join(map(str, target.shape[-2:]))}"
        )
    from torchmetrics.functional.image import structural_similarity_index_measure  # here: as in psnr

    window = 11 if side >= 11 else min(7, side - 1 + side % 2)
    _, similarity = structural_similarity_index_measure(
        reconstruction - lowest,
        target - lowest,
        gaussian_kernel=window == 11,
        sigma=1.5,
        kernel_size=window,
        data_range=float(data_range),
        return_full_image=True,
    )
    border = window // 2
    return similarity[..., border:-border, border:-border].mean().item()


def code_counts(codes: Tensor, codebook_size: int) -> Tensor:
    """Count how often each code of one codebook occurs: the histogram of usage.

    Args:
        codes: integers of any shape.
        codebook_size: K.

    Returns:
        (K,) int64.

    Raises:
        TypeError: the codes are not integers.
        ValueError: no codes, codes outside 0 to K - 1, or a size below 1.
    """
    return torch.bincount(_codes(codes, codebook_size), minlength=codebook_size)


def codebook_usage(codes: Tensor, codebook_size: Sizes) -> Tensor:
    """Share of the codebook that occurs at all, in (0, 1].

    Few codes cannot use a large codebook: compare with `expected_usage`. Arguments and errors are those that
    the module states.
    """
    return _per_codebook(lambda counts, size: len(counts) / size, codes, codebook_size)


def expected_usage(codebook_size: int, num_codes: int) -> float:
    """Usage that `num_codes` uniform draws from a codebook are expected to show: 1 - (1 - 1/K)^N.

    Raises:
        ValueError: a size or number below 1.
    """
    _check_size(codebook_size)
    if num_codes < 1:
        raise ValueError(f"num_codes must be at least 1, got {num_codes}")
    if codebook_size == 1:
        return 1.0
    return -math.expm1(num_codes * math.log1p(-1 / codebook_size))


def entropy(codes: Tensor, codebook_size: Sizes) -> Tensor:
    """Entropy of the codes' empirical distribution in bits, from 0 to log2 K.

    From N samples it is too low by about (K - 1) / (2 N ln 2). Arguments and errors are those that the module
    states.
    """
    return _per_codebook(_entropy, codes, codebook_size)


def perplexity(codes: Tensor, codebook_size: Sizes) -> Tensor:
    """Number of equally used codes with the same entropy, 2^entropy: K for uniform use, 1 for a single code.

    Arguments and errors are those that the module states.
    """
    return torch.exp2(entropy(codes, codebook_size))


def gini(codes: Tensor, codebook_size: Sizes) -> Tensor:
    """Gini coefficient of the codes' counts, unused codes included.

    0 for uniform use, 1 - 1/K for a single code. Arguments and errors are those that the module states.
    """
    return _per_codebook(_gini, codes, codebook_size)


def bits_per_sample(codebook_size: Sizes, num_tokens: int = 1) -> float:
    """Bits that a sample's codes take without entropy coding: num_tokens x sum of log2 K over the codebooks.

    Args:
        codebook_size: K, or (K_1, ..., K_M) for codes of M columns.
        num_tokens: positions with a code each, such as h x w.

    Raises:
        ValueError: no codebook, a size below 1 or a negative number of tokens.
    """
    sizes = _sizes(codebook_size)
    if num_tokens < 0:
        raise ValueError(f"num_tokens must not be negative, got {num_tokens}")
    return num_tokens * math.fsum(math.log2(size) for size in sizes)


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance between the Gaussians fitted to two sets of features.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)); with features of an Inception network it is the FID.

    Args:
        features_a: (N, D), at least two samples.
        features_b: (N', D), at least two samples.

    Returns:
        The distance in squared units of the features, at least 0.

    Raises:
        ValueError: another shape, fewer than two samples, or features that are not finite.
    """
    (mean_a, cov_a), (mean_b, cov_b) = (
        _gaussian("features_a", features_a),
        _gaussian("features_b", features_b),
    )
    if len(mean_a) != len(mean_b):
        raise ValueError(
            f"features_a and features_b must have the same width, got {len(mean_a)} and {len(mean_b)}"
        )
    # The trace of (S_a S_b)^(1/2) by a symmetric matrix of the same eigenvalues, which stays exact where
    # covariances are singular: fewer samples than features.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    trace = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace
    return max(distance.item(), 0.0)


def _pair(reconstruction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check two tensors to compare; give them in double precision, without a graph."""
    if reconstruction.shape != target.shape:
        raise ValueError(
            "reconstruction and target must have one shape, "
            f"got {tuple(reconstruction.shape)} and {tuple(target.shape)}"
        )
    if not target.numel():
        raise ValueError(f"reconstruction and target must not be empty, got shape {tuple(target.shape)}")
    return reconstruction.detach().double(), target.detach().double()


def _images(reconstruction: Tensor, target: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    reconstruction, target = _pair(reconstruction, target)
    if target.ndim != 4:
        raise ValueError(f"images must have shape (B, C, H, W), got {tuple(target.shape)}")
    if not 0 < data_range < math.inf:
        raise ValueError(f"data_range must be a positive number, got {data_range}")
    return reconstruction, target


def _check_size(size: int) -> None:
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"codebook_size must be a whole number of at least 1, got {size!r}")


def _sizes(codebook_size: Sizes) -> tuple[int, ...]:
    sizes = (codebook_size,) if isinstance(codebook_size, int) else tuple(codebook_size)
    if not sizes:
        raise ValueError("codebook_size must name at least one codebook, got none")
    for size in sizes:
        _check_size(size)
    return sizes


def _codes(codes: Tensor, size: int) -> Tensor:
    """Check the codes of one codebook and give them flat."""
    _check_size(size)
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    if not codes.numel():
        raise ValueError(f"codes must not be empty, got shape {tuple(codes.shape)}")
    flat = codes.reshape(-1).long()
    low, high = flat.min().item(), flat.max().item()
    if low < 0 or high >= size:
        raise ValueError(f"codes must be from 0 to {size - 1}, got {low if low < 0 else high}")
    return flat


def _per_codebook(measure: Callable[[Tensor, int], float], codes: Tensor, codebook_size: Sizes) -> Tensor:
    """Apply `measure` to (positive counts ascending, K) of the one codebook, or of each column."""
    sizes = _sizes(codebook_size)
    if isinstance(codebook_size, int):
        columns = (codes,)
    elif codes.ndim and codes.shape[-1] == len(sizes):
        columns = codes.unbind(-1)
    else:
        raise ValueError(
            f"codes must have {len(sizes)} columns, one per codebook, got shape {tuple(codes.shape)}"
        )
    numbers = [
        measure(_codes(column, size).unique(return_counts=True)[1].sort().values, size)
        for column, size in zip(columns, sizes, strict=True)
    ]
    return torch.tensor(numbers[0] if isinstance(codebook_size, int) else numbers, dtype=torch.float64)


def _entropy(counts: Tensor, _: int) -> float:
    shares = counts.double() / counts.sum()
    return -(shares * shares.log2()).sum().item() + 0.0  # + 0.0: never -0.0


def _gini(counts: Tensor, size: int) -> float:
    # sum_i (2 i - K - 1) x_i / (K sum x) over ascending x; unused codes come first and add nothing.
    ranks = torch.arange(size - len(counts) + 1, size + 1, dtype=torch.float64, device=counts.device)
    return ((2 * ranks - size - 1) * counts).sum().item() / (size * counts.sum().item())


def _gaussian(name: str, features: Tensor) -> tuple[Tensor, Tensor]:
    if features.ndim != 2 or len(features) < 2 or not features.shape[1]:
        raise ValueError(
            f"{name} must have shape (N, D) with at least two samples, got {tuple(features.shape)}"
        )
    features = features.detach().double()
    if not features.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)
