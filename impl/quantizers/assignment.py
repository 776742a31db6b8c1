"""How a latent is given to codes when that is not simply the nearest codeword: by angle, softly, by a draw."""

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.collectives import joined_rows
from impl.quantizers.lookup import nearest_codes


def cosine_codes(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return the index (N,), int64, of the codeword (of K) with the smallest angle to each vector.

    On unit vectors |u - c|^2 = 2 - 2 <u, c>, so this is the nearest one there. A vector of length zero has no angle:
    all codes tie for it, up to rounding.

    Args:
        vectors: (N, D).
        codewords: (K, D).
    """
    return nearest_codes(F.normalize(vectors, dim=1), F.normalize(codewords, dim=1))


def squared_distances(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return |x - c|^2 (N, K) of vectors (N, D) and codewords (K, D), with its gradient to both.

    Both are centred on the mean codeword, because far from the origin the expansion of the square loses the distance.
    """
    center = codewords.detach().mean(dim=0)
    vectors, codewords = vectors - center, (codewords - center).to(vectors.dtype)
    cross = vectors @ codewords.T
    return vectors.square().sum(dim=1, keepdim=True) - 2 * cross + codewords.square().sum(dim=1)


def one_hot_of_largest(scores: Tensor) -> Tensor:
    """Return the one-hot vectors (N, K), in the scores' type, of the largest of scores (N, K)."""
    return F.one_hot(scores.detach().argmax(dim=1), scores.shape[1]).to(scores.dtype)


def with_gradient_of(hard: Tensor, soft: Tensor) -> Tensor:
    """Return `hard` exactly, with the gradient of `soft`; both (N, K), hard without gradient."""
    return hard.detach() + (soft - soft.detach())


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
