"""Codebooks of a sum of codewords from the codes of the vectors: regularised least squares from counts.

With B the N x MK matrix whose row n marks the M codewords of vector n, the best codebooks C minimise |X - B C|^2. All
that the solution needs is B'B, which counts how often two codewords occur together, and B'X, the sum of the vectors of
each codeword: B itself is never made (martinez2018lsq).
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from impl.quantizers.kmeans import cluster_sums


class NormalEquations(NamedTuple):
    """B'B and B'X, in float64: sums over vectors, so those of two batches add up.

    Attributes:
        counts: (MK, MK): in how many vectors codeword i of all codebooks stands beside codeword j.
        sums: (MK, D): the sum of the vectors that have codeword i.
    """

    counts: Tensor
    sums: Tensor

    def plus(self, other: Self, forget: float = 1.0) -> Self:
        """Return the equations of both batches, with `forget` times the weight of this one's."""
        return type(self)(forget * self.counts + other.counts, forget * self.sums + other.sums)


def normal_equations(vectors: Tensor, codes: Tensor, codebook_size: int) -> NormalEquations:
    """Return the normal equations of vectors (N, D) with codes (N, M) of codebooks of K codewords each."""
    count = codes.shape[1]
    total = count * codebook_size
    flat = codes + codebook_size * torch.arange(count, device=codes.device)
    counts = torch.zeros(total * total, dtype=torch.float64, device=codes.device)
    ones = counts.new_ones(len(codes))
    for first in range(count):
        for second in range(first + 1):
            cells = flat[:, first] * total + flat[:, second]
            counts.index_add_(0, cells, ones)  # not bincount, whose result breaks a compiled graph
    counts = counts.view(total, total)
    # Only the lower triangle was counted; the diagonal is its own mirror.
    counts = counts + counts.T - counts.diagonal().diag()
    wide = vectors.double()
    sums = [cluster_sums(wide, column, codebook_size)[1] for column in codes.unbind(1)]
    return NormalEquations(counts, torch.cat(sums))


def solve(
    equations: NormalEquations, num_codebooks: int, ridge: float, toward: Tensor | None = None
) -> Tensor:
    """Return the codebooks C (M, K, D), float64, that minimise |X - B C|^2 + ridge |C - toward|^2.

    B'B alone is singular: a constant may move from one codebook to another, and a codeword that no vector has may be
    anything. The ridge settles both. With `toward` at codebooks in use, |X - B C|^2 is never above theirs.

    Args:
        equations: of the vectors and their codes.
        num_codebooks: M.
        ridge: above 0, in vectors: how many of them pull a codeword back.
        toward: (M, K, D); None for zero.
    """
    total, dim = equations.sums.shape
    anchor = equations.sums.new_zeros(total, dim) if toward is None else toward.reshape(total, dim).double()
    matrix = equations.counts + ridge * torch.eye(total, dtype=torch.float64, device=equations.counts.device)
    solution = torch.cholesky_solve(equations.sums + ridge * anchor, torch.linalg.cholesky(matrix))
    return solution.view(num_codebooks, total // num_codebooks, dim)


def least_squares_codebooks(
    vectors: Tensor, codes: Tensor, codebook_size: int, ridge: float = 1e-4, toward: Tensor | None = None
) -> Tensor:
    """Return the codebooks (M, K, D), in the vectors' type, that fit vectors (N, D) with codes (N, M) best.

    `ridge` and `toward` are those of `solve`.
    """
    equations = normal_equations(vectors, codes, codebook_size)
    return solve(equations, codes.shape[1], ridge, toward).to(vectors.dtype)
