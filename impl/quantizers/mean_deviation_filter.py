"""Exact nearest-codeword search that skips most distances by a bound from two numbers a vector.

Split a vector in its mean over the D coordinates times the vector of ones, and the rest, whose length is sqrt(D) times
the deviation. The parts are orthogonal and the rest obeys the triangle inequality, so
D [(mean x - mean c)^2 + (dev x - dev c)^2] <= |x - c|^2 with population deviations.
"""

import torch
from torch import Tensor


def mean_deviation_bound(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return lower bounds (N, K) of the squared distances of vectors (N, D) and codewords (K, D) (ai2017optimized)."""
    summaries = []
    for rows in (vectors, codewords):
        mean = rows.mean(dim=1, keepdim=True)
        deviation = (rows - mean).square().mean(dim=1, keepdim=True).sqrt()
        summaries.append(torch.cat([mean, deviation], dim=1))
    difference = summaries[0][:, None] - summaries[1][None]
    return vectors.shape[1] * difference.square().sum(dim=2)


def filtered_nearest(vectors: Tensor, codewords: Tensor) -> tuple[Tensor, int]:
    """Return the index (N,) of the nearest codeword of each vector, and how many distances were computed.

    Codewords are tried from the smallest bound up; a vector whose next bound exceeds its best distance is done.

    Args:
        vectors: (N, D).
        codewords: (K, D), K at least 1.
    """
    bounds, order = mean_deviation_bound(vectors, codewords).sort(dim=1, stable=True)
    best = torch.full_like(bounds[:, 0], float("inf"))
    codes, computed = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device), 0
    for rank in range(len(codewords)):
        # Bounds grow with the rank, so a vector that is done stays done.
        open_rows = (bounds[:, rank] < best).nonzero().squeeze(1)
        if len(open_rows) == 0:
            break
        computed += len(open_rows)
        tried = order[open_rows, rank]
        distances = (vectors[open_rows] - codewords[tried]).square().sum(dim=1)
        better = distances < best[open_rows]
        best[open_rows[better]], codes[open_rows[better]] = distances[better], tried[better]
    return codes, computed
