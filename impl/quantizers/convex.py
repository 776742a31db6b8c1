"""Vectors as convex combinations of codewords: projection on the simplex, and the least-squares weights on it."""

import torch
from torch import Tensor

#: Steps of the accelerated projected gradient before the optimality conditions are solved exactly.
STEPS = 200


def project_simplex(vectors: Tensor) -> Tensor:
    """Return the nearest points (N, K) to vectors (N, K) with no negative entry and sum 1, with the gradient.

    The projection is max(0, v - t) with one t a row, found from the sorted entries (gautam2024soft).
    """
    ordered = vectors.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    ranks = torch.arange(1, vectors.shape[1] + 1, device=vectors.device, dtype=vectors.dtype)
    kept = (ordered * ranks > excess).sum(dim=1, keepdim=True)
    threshold = excess.gather(1, kept - 1) / kept
    return (vectors - threshold).clamp(min=0)


def relaxed_weights(vectors: Tensor, table: Tensor, anchors: Tensor, penalty: float) -> Tensor:
    """Return weights (N, K): the least-squares ones without constraints, then projected on the simplex.

    One K x K factorization serves all vectors. What is projected minimises |z - C' p|^2 + penalty |p - a|^2.

    Args:
        vectors: z, (N, D).
        table: C, (K, D).
        anchors: a, (N, K).
        penalty: lambda, positive: C C' alone has no inverse when K > D.
    """
    gram, target = _normal_equations(vectors, table, anchors, penalty)
    return project_simplex(torch.cholesky_solve(target.T, torch.linalg.cholesky(gram)).T)


def convex_weights(vectors: Tensor, table: Tensor, anchors: Tensor, penalty: float) -> Tensor:
    """Return the weights (N, K) on the simplex that minimise |z - C' p|^2 + penalty |p - a|^2, with the gradient.

    The quadratic programme is solved by accelerated projected gradient; then the optimality conditions on the support
    found are solved as linear equations, which makes the solution exact and gives it its derivative, that of the
    conditions. Takes N (K + 1)^2 numbers: for tables of some hundred codewords at most.

    Args:
        vectors: z, (N, D).
        table: C, (K, D).
        anchors: a, (N, K).
        penalty: lambda, positive.
    """
    gram, target = _normal_equations(vectors, table, anchors, penalty)
    with torch.no_grad():
        rough = _projected_gradient(gram, target)
        support = rough > 0
        for _ in range(
            3
        ):  # a weight that comes out negative leaves, one whose multiplier is negative comes in
            weights, level = _on_support(gram, target, support)
            multipliers = weights @ gram - target - level
            support = torch.where(support, weights > 0, multipliers < -1e-9 * gram.diagonal().mean())
    exact = _on_support(gram, target, support)[0]
    feasible = (exact >= 0).all(dim=1, keepdim=True)
    return torch.where(feasible, exact, rough)


def _normal_equations(
    vectors: Tensor, table: Tensor, anchors: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Return C C' + lambda I, (K, K), and z C' + lambda a, (N, K)."""
    gram = table @ table.T + penalty * torch.eye(len(table), dtype=table.dtype, device=table.device)
    return gram, vectors @ table.T + penalty * anchors


def _projected_gradient(gram: Tensor, target: Tensor) -> Tensor:
    """Minimise p G p' - 2 p t' over the simplex for each row t of `target`, from the projected row of t."""
    curvature = torch.linalg.matrix_norm(gram, ord=2)
    weights = ahead = project_simplex(target / curvature)
    momentum = 1.0
    for _ in range(STEPS):
        moved = project_simplex(ahead - (ahead @ gram - target) / curvature)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        # Where the step turns against the momentum, the row starts to accelerate again.
        turned = ((ahead - moved) * (moved - weights)).sum(dim=1, keepdim=True) > 0
        ahead = torch.where(turned, moved, moved + (momentum - 1) / following * (moved - weights))
        weights, momentum = moved, following
    return weights


def _on_support(gram: Tensor, target: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """Solve G p = t + level on the support, p = 0 off it, sum p = 1; return p (N, K) and level (N, 1)."""
    on = support.to(gram.dtype)
    rows, size = support.shape
    system = gram.new_zeros(rows, size + 1, size + 1)
    system[:, :size, :size] = on[:, :, None] * gram * on[:, None, :] + torch.diag_embed(1 - on)
    system[:, :size, size] = system[:, size, :size] = on
    right = torch.cat([on * target, gram.new_ones(rows, 1)], dim=1)
    solution = torch.linalg.solve(system, right)
    return solution[:, :size], -solution[:, size:]
