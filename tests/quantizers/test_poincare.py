"""The Poincare ball: another library, the Euclidean limit, the boundary."""

import pytest
import torch

from impl.quantizers.poincare import exponential, hyperplane_logits, logarithm


def problem(scale=1.0):
    torch.manual_seed(0)
    tangent, orientations = torch.randn(2, 30, 5, dtype=torch.float64)
    return scale * tangent, orientations[:7], torch.randn(7, dtype=torch.float64) / 2


@pytest.mark.parametrize("curvature", [0.25, 1.0])  # exact in float32, in which geoopt keeps it
def test_agrees_with_geoopt(curvature):
    geoopt = pytest.importorskip("geoopt")
    ball = geoopt.PoincareBall(c=curvature)
    tangent, orientations, offsets = problem()
    points = exponential(tangent, curvature)
    torch.testing.assert_close(points, ball.expmap0(tangent))
    torch.testing.assert_close(logarithm(points, curvature), tangent, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logarithm(points, curvature), ball.logmap0(points))
    directions = torch.nn.functional.normalize(orientations, dim=1)
    through = ball.expmap0(offsets[:, None] * directions)
    distances = ball.dist2plane(points[:, None], through[None], orientations[None], signed=True)
    torch.testing.assert_close(
        hyperplane_logits(points, orientations, offsets, curvature), 2 * orientations.norm(dim=1) * distances
    )


@pytest.mark.parametrize("curvature", [1e-4, 0.5, 1.0, 3.0])
def test_a_point_on_its_hyperplane_has_logit_zero(curvature):
    _, orientations, offsets = problem()
    points = exponential(offsets[:, None] * torch.nn.functional.normalize(orientations, dim=1), curvature)
    logits = hyperplane_logits(points, orientations, offsets, curvature)
    torch.testing.assert_close(logits.diagonal(), torch.zeros(7, dtype=torch.float64), atol=1e-10, rtol=0)


def test_without_curvature_it_is_linear_regression():
    tangent, orientations, offsets = problem()
    points = exponential(tangent, 1e-8)
    torch.testing.assert_close(points, tangent, rtol=1e-6, atol=1e-6)
    expected = 4 * (tangent @ orientations.T - offsets * orientations.norm(dim=1))
    torch.testing.assert_close(
        hyperplane_logits(points, orientations, offsets, 1e-8), expected, rtol=1e-6, atol=1e-6
    )


def test_far_points_and_the_origin_are_finite_with_finite_gradients():
    for scale in (0.0, 1e-9, 1e6):
        tangent = (scale * problem()[0]).float().requires_grad_()
        points = exponential(tangent, 1.0)
        logits = hyperplane_logits(points, *(part.float() for part in problem()[1:]), 1.0)
        assert (points.norm(dim=1) < 1).all() and torch.isfinite(logits).all()
        total = logits.sum() + logarithm(points, 1.0).sum()
        assert torch.isfinite(torch.autograd.grad(total, tangent)[0]).all()
