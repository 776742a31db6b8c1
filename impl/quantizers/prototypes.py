"""Prototypes at several levels of one hierarchy: Ward's clustering, cut into ever fewer clusters."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Prototypes(NamedTuple):
    """One level.

    Attributes:
        assignments: (N,) int64, the cluster of each vector.
        centres: (C, D), the means of the clusters.
    """

    assignments: Tensor
    centres: Tensor


def ward_prototypes(vectors: Tensor, levels: Sequence[int]) -> list[Prototypes]:
    """Cluster vectors (N, D) bottom up by Ward's criterion, and cut the tree at each number of clusters in `levels`.

    Clusters of a level with fewer of them are unions of those of a level with more. Equal vectors may leave fewer
    clusters than asked for. Memory is O(N^2).
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to import

    tree = linkage(vectors.detach().double().cpu().numpy(), method="ward")
    found = []
    for count in levels:
        cut = torch.from_numpy(fcluster(tree, count, criterion="maxclust")).long().to(vectors.device)
        assignments = cut.unique(return_inverse=True)[1]
        totals = vectors.new_zeros(int(assignments.max()) + 1, vectors.shape[1]).index_add_(
            0, assignments, vectors
        )
        found.append(Prototypes(assignments, totals / assignments.bincount()[:, None]))
    return found
