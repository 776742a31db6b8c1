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


def recall_at(found: Tensor, target: Tensor, k: int) -> float:
    """Return the share of queries whose one relevant item is among the first k found.

    Args:
        found: (Q, W) items, best first, W at least k.
        target: (Q,), the relevant item of each query.
        k: how many count.

    Raises:
        ValueError: no query, fewer than k found, or shapes that do not fit.
    """
    return float(_places(found, target, k).any(dim=1).double().mean())


def ndcg_at(found: Tensor, target: Tensor, k: int) -> float:
    """Return the mean of 1 / log2(1 + rank) where the one relevant item is among the first k found, and 0 elsewhere.

    That is the normalised discounted cumulative gain of one relevant item. Arguments and errors as of `recall_at`.
    """
    gains = 1 / torch.arange(2, k + 2, device=found.device, dtype=torch.float64).log2()
    return float((_places(found, target, k) * gains).sum(dim=1).mean())


def _places(found: Tensor, target: Tensor, k: int) -> Tensor:
    if found.ndim != 2 or not len(found) or target.shape != found.shape[:1]:
        shapes = f"{tuple(found.shape)} and {tuple(target.shape)}"
        raise ValueError(f"found must be (Q, W) and target (Q,), Q at least 1, got {shapes}.")
    if not 1 <= k <= found.shape[1]:
        raise ValueError(f"k must be from 1 to the {found.shape[1]} found, got {k!r}.")
    return found[:, :k] == target[:, None]
