"""The Poincare ball of curvature -c: points x with c |x|^2 < 1; and multinomial logistic regression in it.

Tangent vectors at the origin are vectors of D numbers. As c falls to 0 everything becomes Euclidean.
"""

import torch
from torch import Tensor

#: Distance to the boundary, as a share of the radius, that float32 can still work with.
MARGIN = 1e-5


def exponential(tangent: Tensor, curvature: float) -> Tensor:
    """Return the points (..., D) that geodesics from the origin reach along tangent vectors (..., D).

    tanh(sqrt(c) |v|) v / (sqrt(c) |v|), kept `MARGIN` inside the ball.
    """
    root = curvature**0.5
    length = _length(tangent) * root
    return torch.tanh(length).clamp(max=1 - MARGIN) / length * tangent


def logarithm(points: Tensor, curvature: float) -> Tensor:
    """Return the tangent vectors (..., D) at the origin that lead to points (..., D): `exponential` undone."""
    root = curvature**0.5
    length = _length(points) * root
    return torch.atanh(length.clamp(max=1 - MARGIN)) / length * points


def hyperplane_logits(points: Tensor, orientations: Tensor, offsets: Tensor, curvature: float) -> Tensor:
    """Return the logits (N, K) of hyperbolic multinomial logistic regression: signed distances to K hyperplanes.

    Hyperplane k goes through the point that lies r_k along z_k from the origin, at right angles to z_k; the logit is
    2 |z_k| times the geodesic distance, positive on the side to which z_k points. As c falls to 0 it becomes
    4 (<x, z_k> - r_k |z_k|).

    Args:
        points: x, (N, D).
        orientations: z, (K, D).
        offsets: r, (K,).
        curvature: c, positive.
    """
    root = curvature**0.5
    lengths = _length(orientations)
    conformal = 2 / (1 - curvature * points.square().sum(dim=1, keepdim=True))
    along = root * points @ (orientations / lengths).T
    turn = 2 * root * offsets
    inside = conformal * along * torch.cosh(turn) - (conformal - 1) * torch.sinh(turn)
    return 2 * lengths[:, 0] / root * torch.asinh(inside)


def _length(vectors: Tensor) -> Tensor:
    """Length (..., 1), at least so large that it can be divided by, with a gradient at zero too."""
    return vectors.square().sum(dim=-1, keepdim=True).clamp(min=1e-14).sqrt()
