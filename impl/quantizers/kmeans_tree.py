"""Hierarchical k-means: a tree of centres, each node's members clustered again among themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from impl.quantizers.kmeans import kmeans
from impl.quantizers.lookup import nearest_codes


def kmeans_tree(
    vectors: Tensor, branching: Sequence[int], iterations: int = 25, seed: int = 0
) -> list[Tensor]:
    """Return the centres of every level of a tree grown from the root: (b_1, D), (b_1 b_2, D), and so on.

    The children of node n are rows n b to n b + b - 1 of the next level, b being that level's branching. They are the
    k-means centroids of the vectors that reached n, so a node with fewer vectors than children repeats some, and the
    children of a node without vectors all are the node itself.

    Args:
        vectors: (N, D), N at least 1.
        branching: children of each node, level by level; at least one level.
        iterations: of each k-means.
        seed: of each k-means.

    Raises:
        ValueError: no levels, or no vectors.
    """
    if not branching:
        raise ValueError("branching must name the children of a node for at least one level, got none.")
    levels = [kmeans(vectors, branching[0], iterations, seed)]
    nodes = nearest_codes(vectors, levels[0])
    for count in branching[1:]:
        centres = levels[-1].repeat_interleave(count, dim=0)
        order = nodes.argsort(stable=True)
        sizes = torch.bincount(nodes, minlength=len(levels[-1])).tolist()
        grown = torch.empty_like(nodes)
        for node, rows in enumerate(order.split(sizes)):
            if len(rows):
                children = kmeans(vectors[rows], count, iterations, seed)
                centres[node * count : (node + 1) * count] = children
                grown[rows] = node * count + nearest_codes(vectors[rows], children)
        nodes = grown
        levels.append(centres)
    return levels
