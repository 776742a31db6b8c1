"""Ranking a shortlist again by full decoding, for codes whose quick distance is an approximation."""

from collections.abc import Callable

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer


@torch.no_grad()
def rerank(
    queries: Tensor, shortlist: Tensor, codes: Tensor, decode: Callable[[Tensor], Tensor], k: int
) -> tuple[Tensor, Tensor]:
    """Return the k items of each query's shortlist that are nearest once decoded.

    Args:
        queries: (Q, D).
        shortlist: (Q, S) rows of items, distinct within a query.
        codes: (N, M) of all items.
        decode: codes (n, M) -> vectors (n, D); called once for each distinct item of a block of queries.
        k: at most S.

    Returns:
        Squared distances (Q, k), ascending, and rows of the items (Q, k). Equal distances keep the shortlist's order.

    Raises:
        ValueError: k is below 1 or above S.
    """
    if positive_integer("k", k) > shortlist.shape[1]:
        raise ValueError(f"k must be at most the shortlist's {shortlist.shape[1]} items, got {k}.")
    distances, rows = [], []
    for block, short in zip(queries.split(64), shortlist.split(64), strict=True):
        items, places = short.unique(return_inverse=True)
        decoded = decode(codes[items]).to(block.dtype)
        errors = (block[:, None] - decoded[places]).square().sum(dim=2)
        nearest = errors.sort(dim=1, stable=True)
        distances.append(nearest.values[:, :k])
        rows.append(short.gather(1, nearest.indices[:, :k]))
    if not distances:
        return queries.new_empty(0, k), shortlist.new_empty(0, k)
    return torch.cat(distances), torch.cat(rows)
