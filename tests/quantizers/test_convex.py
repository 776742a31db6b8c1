"""Convex weights: another solver, the optimality conditions, gradients by differences."""

import pytest
import torch

from impl.quantizers.convex import convex_weights, project_simplex, relaxed_weights


def problem(rows=20, dim=3, size=7):
    torch.manual_seed(0)
    vectors, table = torch.randn(rows, dim).double(), torch.randn(size, dim).double()
    anchors = torch.nn.functional.one_hot(torch.cdist(vectors, table).argmin(dim=1), size).double()
    return vectors, table, anchors


def objective(weights, vectors, table, anchors, penalty):
    errors = (vectors - weights @ table).square().sum(dim=1)
    return errors + penalty * (weights - anchors).square().sum(dim=1)


def test_projection_on_the_simplex():
    torch.manual_seed(0)
    given = torch.randn(50, 6).double()
    points = project_simplex(given)
    assert (points >= 0).all()
    torch.testing.assert_close(points.sum(dim=1), torch.ones(50).double())
    # v - p has one value where p > 0 and no larger one elsewhere: the condition of the nearest point.
    gap = given - points
    level = gap.masked_fill(points == 0, float("-inf")).amax(dim=1, keepdim=True)
    torch.testing.assert_close(torch.where(points > 0, gap, level), level.expand_as(gap))
    assert (gap <= level + 1e-12).all()
    torch.testing.assert_close(project_simplex(points), points)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 2.0])
def test_the_programme_agrees_with_cvxpy(penalty):
    cvxpy = pytest.importorskip("cvxpy")
    vectors, table, anchors = problem(rows=6)
    found = convex_weights(vectors, table, anchors, penalty)
    for row, vector, anchor in zip(found, vectors, anchors, strict=True):
        weights = cvxpy.Variable(len(table))
        cost = cvxpy.sum_squares(vector.numpy() - table.numpy().T @ weights)
        cost += penalty * cvxpy.sum_squares(weights - anchor.numpy())
        cvxpy.Problem(cvxpy.Minimize(cost), [weights >= 0, cvxpy.sum(weights) == 1]).solve(
            solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
        )
        torch.testing.assert_close(row, torch.from_numpy(weights.value), atol=1e-6, rtol=0)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 2.0])
def test_the_optimality_conditions_hold(penalty):
    """No negative weight, sum 1, one slope where a weight is positive and none below it elsewhere."""
    vectors, table, anchors = problem(rows=200)
    weights = convex_weights(vectors, table, anchors, penalty)
    slopes = 2 * (weights @ table - vectors) @ table.T + 2 * penalty * (weights - anchors)
    level = (slopes * weights).sum(dim=1, keepdim=True)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(200).double())
    assert (slopes - level).min() > -1e-8
    assert ((slopes - level) * (weights > 0)).abs().max() < 1e-8
    best = objective(weights, vectors, table, anchors, penalty)
    assert (best <= objective(anchors, vectors, table, anchors, penalty) + 1e-12).all(), "worse than nearest"
    relaxed = relaxed_weights(vectors, table, anchors, penalty)
    assert (best <= objective(relaxed, vectors, table, anchors, penalty) + 1e-12).all()


@pytest.mark.parametrize("solve", [convex_weights, relaxed_weights])
def test_gradients_agree_with_differences(solve):
    vectors, table, anchors = problem(rows=3, size=4)

    def combined(vectors, table):
        return solve(vectors, table, anchors, 0.3) @ table

    assert torch.autograd.gradcheck(combined, (vectors.requires_grad_(), table.requires_grad_()))


def test_a_vector_inside_the_hull_is_met_when_the_penalty_vanishes():
    _, table, _ = problem()
    mixes = torch.rand(10, 7).double()
    vectors = (mixes / mixes.sum(dim=1, keepdim=True)) @ table
    anchors = torch.nn.functional.one_hot(torch.cdist(vectors, table).argmin(dim=1), 7).double()
    weights = convex_weights(vectors, table, anchors, 1e-7)
    assert (weights @ table - vectors).abs().max() < 1e-5
