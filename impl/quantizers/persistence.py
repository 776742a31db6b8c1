"""Persistent homology of a set of points (Vietoris-Rips complex, coefficients mod 2): when parts merge, when loops
close and fill, as the length up to which points are joined grows. Times are edge lengths, with their gradient.
"""

from itertools import combinations

import torch
from torch import Tensor


def death_times(points: Tensor) -> Tensor:
    """Return the K - 1 lengths, ascending, at which the parts of points (K, D) merge: the deaths of degree 0.

    They are the edges of the minimum spanning tree, grown here from point 0 (Prim's algorithm, O(K^2)). The gradient
    goes to the two ends of each edge.
    """
    first, second = _spanning_tree(points.detach())
    return _lengths(points, first, second).sort().values


def loops(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return births and deaths (L,) of the loops in points (K, D): the bars of degree 1 of positive length.

    A loop is born with the edge that closes it and dies with the longest edge of the triangle that fills it. Found by
    reducing the boundary matrix of all K choose 3 triangles, columns as Python's integers: about a second for K = 64.
    """
    distances = torch.cdist(points.detach(), points.detach())
    size = len(points)
    pairs = sorted(combinations(range(size), 2), key=lambda pair: float(distances[pair]))
    rank = {pair: index for index, pair in enumerate(pairs)}
    faces = [
        sorted((rank[i, j], rank[i, k], rank[j, k]), reverse=True) for i, j, k in combinations(range(size), 3)
    ]
    columns: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    open_edges = len(pairs) - (size - 1)
    for face in sorted(faces):
        if len(columns) == open_edges:
            break
        column = (1 << face[0]) | (1 << face[1]) | (1 << face[2])
        while column and column.bit_length() - 1 in columns:
            column ^= columns[column.bit_length() - 1]
        if column:
            birth = column.bit_length() - 1
            columns[birth] = column
            if distances[pairs[birth]] < distances[pairs[face[0]]]:
                found.append((birth, face[0]))
    ends = torch.tensor([[*pairs[birth], *pairs[death]] for birth, death in found], dtype=torch.int64)
    ends = ends.reshape(-1, 4).to(points.device)
    return _lengths(points, ends[:, 0], ends[:, 1]), _lengths(points, ends[:, 2], ends[:, 3])


def soft_count(births: Tensor, deaths: Tensor, length: float = 1e-3) -> Tensor:
    """Return the number of bars that last longer than about `length` (volkov2022homologyconstrained): the sum of
    1 - exp(-((death - birth) / length)^2 / 2).
    """
    return (1 - torch.exp(-0.5 * ((deaths - births) / length).square())).sum()


def _spanning_tree(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends (K - 1,) and (K - 1,) of the edges of the minimum spanning tree."""
    size, index = len(points), torch.arange(len(points), device=points.device)
    joined = index == 0
    nearest = (points - points[:1]).square().sum(dim=1)
    source = torch.zeros_like(index)
    first, second = [], []
    for _ in range(size - 1):
        added = nearest.masked_fill(joined, float("inf")).argmin()[None]
        first.append(source[added])
        second.append(added)
        joined = joined | (index == added)
        distance = (points - points[added]).square().sum(dim=1)
        source = torch.where(distance < nearest, added, source)
        nearest = torch.minimum(nearest, distance)
    empty = index[:0]
    return torch.cat([empty, *first]), torch.cat([empty, *second])


def _lengths(points: Tensor, first: Tensor, second: Tensor) -> Tensor:
    # Two points in one place have no direction to be pushed in: their gradient is zero, not NaN.
    return (points[first] - points[second]).square().sum(dim=1).clamp(min=1e-24).sqrt()
