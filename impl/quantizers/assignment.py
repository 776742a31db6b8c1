"""How a latent is given to codes when that is not simply the nearest codeword: by angle, softly, by a draw."""

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.collectives import joined_rows
from impl.quantizers.lookup import BLOCK_SCORES, nearest_codes


def cosine_codes(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return the index (N,), int64, of the codeword (of K) with the smallest angle to each vector.

    On unit vectors |u - c|^2 = 2 - 2 <u, c>, so this is the nearest one there. A vector of length zero has no angle:
    all codes tie for it, up to rounding.

    Args:
        vectors: (N, D).
        codewords: (K, D).
    """
    return nearest_codes(F.normalize(vectors, dim=1), F.normalize(codewords, dim=1))


def inner_product_codes(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return the index (N,), int64, of the codeword of (K, D) with the largest inner product with each vector (N, D).

    Blocked over the vectors, so that memory is that of some 2^19 scores.
    """
    rows = max(1, BLOCK_SCORES // len(codewords))
    codes = [(block @ codewords.T).argmax(dim=1) for block in vectors.split(rows)]
    return torch.cat(codes)


def squared_distances(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return |x - c|^2 (N, K) of vectors (N, D) and codewords (K, D), with its gradient to both.

    Both are centred on the mean codeword, because far from the origin the expansion of the square loses the distance.
    """
    center = codewords.detach().mean(dim=0)
    vectors, codewords = vectors - center, (codewords - center).to(vectors.dtype)
    cross = vectors @ codewords.T
    return vectors.square().sum(dim=1, keepdim=True) - 2 * cross + codewords.square().sum(dim=1)


def one_hot_through(probabilities: Tensor, codes: Tensor) -> Tensor:
    """Return the one-hot vectors (N, K) of codes (N,), with the gradient of probabilities (N, K).

    The straight-through estimator on the index instead of the vector: all codes get a gradient, the chosen and the
    others, and so does whatever the probabilities are made of.
    """
    hard = torch.zeros_like(probabilities).scatter_(1, codes[:, None], 1.0)
    return hard + (probabilities - probabilities.detach())


def uniform_rows(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return uniform draws (rows, columns) in (0, 1), those of this process's rows in the joined batch."""
    start, total = joined_rows(rows)
    draws = torch.rand(total, columns, dtype=like.dtype, device=like.device)[start : start + rows]
    # Zero is drawn once in 2^24 times, and its logarithm is minus infinity.
    return draws.clamp(min=torch.finfo(like.dtype).tiny)


def with_gumbel_noise(logits: Tensor) -> Tensor:
    """Return logits (N, K) plus independent standard Gumbel noise: the index of the largest is a draw from softmax."""
    noise = uniform_rows(*logits.shape, like=logits)
    # 1 - 2^-24 is the largest draw: its noise is 16.6, finite. A draw of exactly 1 does not occur.
    return logits - torch.log(-torch.log(noise))


def sampled_codes(probabilities: Tensor, num_samples: int) -> Tensor:
    """Return independent draws (N, m), int64, from each row of probabilities (N, K), by inverting their sums."""
    sums = probabilities.cumsum(dim=1)
    draws = uniform_rows(len(probabilities), num_samples, like=sums)
    # The last sum is 1 up to rounding; scaled to it, no draw lies beyond, and none falls to a code of probability zero.
    return torch.searchsorted(sums, draws * sums[:, -1:])
