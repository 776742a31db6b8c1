"""k-means that starts on a few principal axes and grows to the full width (transition clustering).

k-means on the nearly white residuals of late stages ends in poor, unbalanced optima. On the leading principal axes
alone the problem is easy; each wider one starts where the narrower one ended.
"""

import torch
from torch import Tensor

from impl.quantizers.kmeans import kmeans, lloyd, recentred
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.transforms import principal_axes


def grown_codewords(
    vectors: Tensor, start: int | Tensor, steps: int, iterations: int, seed: int = 0
) -> Tensor:
    """Return codewords (K, D) of vectors (N, D), fitted on a growing number of principal axes (liu2015improved).

    The axes are those of the vectors and stay fixed. Step s uses the first ceil(s D / S) of them and starts with the
    clusters of the step before.

    Args:
        vectors: (N, D), N at least 1.
        start: K, to seed the first step by k-means++, or codewords (K, D) to start it from.
        steps: S; with 1 this is k-means.
        iterations: Lloyd iterations of each step.
        seed: of the seeding.
    """
    mean, axes, _ = principal_axes(vectors)
    turned, dim = (vectors - mean) @ axes, vectors.shape[1]
    widths = [-(-step * dim // steps) for step in range(1, steps + 1)]
    first = turned[:, : widths[0]]
    if isinstance(start, int):
        codewords = kmeans(first, start, iterations, seed)
    else:
        codewords = lloyd(first, ((start - mean) @ axes)[:, : widths[0]], iterations)
    for width in widths[1:]:
        codes = nearest_codes(turned[:, : codewords.shape[1]], codewords)
        grown = turned.new_zeros(len(codewords), width)
        grown[:, : codewords.shape[1]] = codewords
        codewords = lloyd(
            turned[:, :width], recentred(turned[:, :width], codes, grown), max(iterations - 1, 0)
        )
    return torch.addmm(mean, codewords, axes.T)
