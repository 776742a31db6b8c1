"""Retrieval by meaning: what is relevant to a query is what shares its label, not what is near to it."""

import torch
from torch import Tensor

from impl.search import LookupIndex, Searchable


def mean_average_precision(distances: Tensor, relevant: Tensor) -> float:
    """Return the mean, over queries, of the average precision of the items ranked by distance, nearest first.

    A query's average precision is the mean over its relevant items of the precision at their rank. Items at equal
    distance, as all with equal codes are, share a rank, the last of theirs: the answer does not depend on the order of
    the items. Queries without a relevant item do not count.

    Args:
        distances: (Q, N) of queries to items.
        relevant: (Q, N) bool.

    Raises:
        ValueError: the shapes differ, or no query has a relevant item.
    """
    if distances.shape != relevant.shape or distances.ndim != 2:
        shapes = f"{tuple(distances.shape)} and {tuple(relevant.shape)}"
        raise ValueError(f"distances and relevant must both be (Q, N), got {shapes}.")
    totals = relevant.sum(dim=1)
    if not bool((totals > 0).any()):
        raise ValueError("relevant must mark at least one item of one query, got none.")
    ordered, order = distances.sort(dim=1)
    hits = relevant.gather(1, order).double()
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    precision = hits.cumsum(dim=1) / ranks
    last = torch.ones_like(order, dtype=torch.bool)
    last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    # The next position at which a run of equal distances ends, from the right.
    ends = torch.where(last, ranks - 1, hits.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    averages = (hits * precision.gather(1, ends)).sum(dim=1) / totals
    return float(averages[totals > 0].mean())


@torch.no_grad()
def label_precision(
    quantizer: Searchable, items: Tensor, item_labels: Tensor, queries: Tensor, query_labels: Tensor
) -> float:
    """Return the mean average precision of items kept as codes, ranked by table look-up, relevant by label.

    Args:
        quantizer: fitted.
        items: (N, D), to be encoded.
        item_labels: (N,).
        queries: (Q, D) in the space of the codewords, not encoded.
        query_labels: (Q,).
    """
    distances, rows = LookupIndex(quantizer, items).search(queries, len(items))
    return mean_average_precision(distances, item_labels[rows] == query_labels[:, None])
