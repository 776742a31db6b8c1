"""Orthogonal transforms in closed form: principal axes, and their allocation to the parts of a product."""

import torch
from torch import Tensor


def principal_axes(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (D,), the principal axes (D, D) as columns and their variances (D,), largest first.

    Computed in float64; each axis has its largest entry positive, so that the answer does not depend on the solver's
    signs.

    Args:
        vectors: (N, D), N at least 1.
    """
    wide = vectors.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(vectors))
    axes, variances = axes.flip(1), variances.flip(0).clamp(min=0)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    return mean.to(vectors.dtype), axes.to(vectors.dtype), variances.to(vectors.dtype)


def eigenvalue_allocation(variances: Tensor, parts: int) -> Tensor:
    """Return a permutation (D,) that deals axes to parts of equal size and balanced products of variances
    (ge2013optimized).

    From the largest variance down, each axis goes to the part with the smallest product so far that has room. Axes of
    part p come at positions p D / P and on. Products are compared as sums of logarithms; variances are divided by the
    smallest positive one first, so that a product grows with every axis.

    Args:
        variances: (D,), not negative.
        parts: P, a divisor of D.

    Raises:
        ValueError: P does not divide D.
    """
    if parts < 1 or len(variances) % parts:
        raise ValueError(f"parts must divide the number of variances, got {parts} parts of {len(variances)}.")
    room = len(variances) // parts
    positive = variances[variances > 0]
    floor = positive.min() if len(positive) else variances.new_ones(())
    logarithms = (variances.clamp(min=floor) / floor).log().tolist()
    products, members = [0.0] * parts, [[] for _ in range(parts)]
    for axis in sorted(range(len(logarithms)), key=lambda axis: -logarithms[axis]):
        part = min((p for p in range(parts) if len(members[p]) < room), key=lambda p: products[p])
        members[part].append(axis)
        products[part] += logarithms[axis]
    return torch.tensor([axis for part in members for axis in part], device=variances.device)
