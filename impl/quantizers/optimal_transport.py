"""Entropic optimal transport between two discrete measures, by Sinkhorn's iteration on logarithms."""

from typing import NamedTuple

import torch
from torch import Tensor


class Transport(NamedTuple):
    """A solution of entropic transport.

    Attributes:
        plan: (N, K), the mass that goes from each row to each column; rows sum to their weights exactly.
        rows: (N,), the dual potential f, the slope of the optimum in the row weights.
        columns: (K,), the dual potential g, the slope of the optimum in the column weights. Both up to a constant that
            moves from one to the other.
    """

    plan: Tensor
    rows: Tensor
    columns: Tensor


@torch.no_grad()
def sinkhorn(
    costs: Tensor,
    row_weights: Tensor,
    column_weights: Tensor,
    epsilon: float | Tensor,
    iterations: int,
    columns: Tensor | None = None,
) -> Transport:
    """Solve min <P, C> + epsilon KL(P | a b') over plans P (N, K) with row sums a and column sums b.

    The plan is P = a b' exp((f + g - C) / epsilon); an iteration chooses g so that the columns sum to b, then f so that
    the rows sum to a. Gradients follow from Danskin's theorem and need none through the iteration: the optimum's slope
    in C is P, in b it is g, up to a constant.

    Args:
        costs: C (N, K).
        row_weights: a (N,), positive, summing to 1.
        column_weights: b (K,), positive, summing to 1.
        epsilon: in the unit of the costs; the plan comes near to the exact one as it falls, and takes more iterations.
        iterations: how many.
        columns: g (K,) to start from, zero by default; that of a similar problem saves iterations.
    """
    log_rows, log_columns, scores = row_weights.log(), column_weights.log(), -costs / epsilon
    g = torch.zeros_like(log_columns) if columns is None else columns / epsilon
    f = -torch.logsumexp(scores + log_columns + g, dim=1)
    for _ in range(iterations):
        g = -torch.logsumexp(scores + (log_rows + f)[:, None], dim=0)
        f = -torch.logsumexp(scores + log_columns + g, dim=1)
    plan = torch.exp(scores + (log_rows + f)[:, None] + log_columns + g)
    return Transport(plan, f * epsilon, g * epsilon)
