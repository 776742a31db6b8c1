"""The Lorentz model of hyperbolic space of curvature -c: points x with <x, x>_L = -1/c and positive time.

<x, y>_L = -x_0 y_0 + x_1 y_1 + ... + x_W y_W. Coordinate 0 is time. A tangent vector at the origin (1/sqrt(c), 0, ...)
has no time, so it is a vector of W numbers. As c falls to 0 everything becomes Euclidean in tangent vectors.
"""

import torch
from torch import Tensor

#: Least squared Lorentz distance under a root: below it the distance is a constant, without a gradient that explodes.
SMALL = 1e-7


def exponential(tangent: Tensor, curvature: Tensor) -> Tensor:
    """Return the points (..., W + 1) that geodesics from the origin reach along tangent vectors (..., W).

    Args:
        tangent: directions; their length is the distance from the origin.
        curvature: c, broadcast against (..., 1).
    """
    root = curvature.sqrt()
    length = tangent.square().sum(dim=-1, keepdim=True).clamp(min=1e-14).sqrt()
    time, space = torch.cosh(root * length) / root, torch.sinh(root * length) / (root * length) * tangent
    return torch.cat([time, space], dim=-1)


def logarithm(points: Tensor, curvature: Tensor) -> Tensor:
    """Return the tangent vectors (..., W) at the origin that lead to points (..., W + 1): `exponential` undone."""
    root, space = curvature.sqrt(), points[..., 1:]
    length = space.square().sum(dim=-1, keepdim=True).clamp(min=1e-14).sqrt()
    return torch.asinh(root * length) / (root * length) * space


def inner_products(first: Tensor, second: Tensor) -> Tensor:
    """Return <x, y>_L (..., A, B) of points (..., A, W + 1) and (..., B, W + 1)."""
    signed = torch.cat([-second[..., :1], second[..., 1:]], dim=-1)
    return first @ signed.transpose(-1, -2)


def squared_lorentz_distances(first: Tensor, second: Tensor, curvature: Tensor) -> Tensor:
    """Return <x - y, x - y>_L = -2/c - 2 <x, y>_L (..., A, B), at least 0; c broadcasts against (..., 1, 1)."""
    return (-2 / curvature - 2 * inner_products(first, second)).clamp(min=0)


def geodesic_distances(first: Tensor, second: Tensor, curvature: Tensor) -> Tensor:
    """Return the lengths (..., A, B) of the geodesics between points: arcosh(-c <x, y>_L) / sqrt(c).

    Written as 2 arsinh(sqrt(c) d_L / 2) / sqrt(c) with the Lorentz distance d_L, which keeps small distances apart.
    """
    root = curvature.sqrt()
    lorentz = squared_lorentz_distances(first, second, curvature).clamp(min=SMALL).sqrt()
    return 2 * torch.asinh(root * lorentz / 2) / root


def centroids(weights: Tensor, points: Tensor, curvature: Tensor) -> Tensor:
    """Return the points (..., A, W + 1) with the least weighted sum of squared Lorentz distances to points.

    The weighted sum s, brought back to the hyperboloid: s / (sqrt(c) sqrt(-<s, s>_L)).

    Args:
        weights: (..., A, B), not negative, not all zero.
        points: (..., B, W + 1).
        curvature: c, broadcast against (..., 1, 1).
    """
    total = weights @ points
    norm = total[..., :1].square() - total[..., 1:].square().sum(dim=-1, keepdim=True)
    return total / (curvature * norm.clamp(min=SMALL)).sqrt()
