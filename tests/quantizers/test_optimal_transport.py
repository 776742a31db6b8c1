"""Entropic transport: its marginals, POT, the exact limit, the slopes of the optimum, a start from known potentials."""

import pytest
import torch

from impl.quantizers.optimal_transport import sinkhorn


def problem(rows=7, columns=5):
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.2 for size in (rows, columns))
    return costs, a / a.sum(), b / b.sum()


def test_the_plan_has_the_marginals():
    costs, a, b = problem()
    for iterations in (0, 1, 500):
        plan = sinkhorn(costs, a, b, 0.05, iterations).plan
        torch.testing.assert_close(plan.sum(dim=1), a)
    torch.testing.assert_close(plan.sum(dim=0), b)
    assert (plan > 0).all()


def test_agrees_with_pot():
    ot = pytest.importorskip("ot")
    costs, a, b = problem()
    for epsilon in (0.5, 0.05):
        plan = sinkhorn(costs, a, b, epsilon, 3000).plan
        given = a.numpy(), b.numpy(), costs.numpy()
        expected = ot.sinkhorn(*given, reg=epsilon, method="sinkhorn_log", numItermax=10_000, stopThr=1e-13)
        torch.testing.assert_close(plan, torch.from_numpy(expected), atol=1e-8, rtol=1e-6)
    exact = ot.emd2(*given)
    cost = float((sinkhorn(costs, a, b, 2e-3, 30_000).plan * costs).sum())
    assert exact - 1e-9 <= cost < exact + 2e-3


def test_one_to_one_is_the_assignment_problem():
    optimize = pytest.importorskip("scipy.optimize")
    costs, _, _ = problem(6, 6)
    each = torch.full((6,), 1 / 6, dtype=torch.float64)
    rows, columns = optimize.linear_sum_assignment(costs.numpy())
    expected = costs[rows, columns].mean()
    found = (sinkhorn(costs, each, each, 2e-3, 20_000).plan * costs).sum()
    assert float(found) == pytest.approx(float(expected), abs=1e-3)


def test_plan_and_potential_are_the_slopes_of_the_optimum():
    """Central differences of <P, C> + epsilon KL(P | a b'); that in b along directions that keep its sum."""
    costs, a, b = problem(4, 3)

    def optimum(costs, b):
        plan = sinkhorn(costs, a, b, 0.2, 2000).plan
        return float((plan * costs).sum() + 0.2 * (plan * (plan / torch.outer(a, b)).log()).sum())

    found, step = sinkhorn(costs, a, b, 0.2, 2000), 1e-5
    for row, column in ((0, 0), (2, 1), (3, 2)):
        shift = torch.zeros_like(costs)
        shift[row, column] = step
        slope = (optimum(costs + shift, b) - optimum(costs - shift, b)) / (2 * step)
        assert slope == pytest.approx(float(found.plan[row, column]), rel=1e-5)
    direction = torch.tensor([1.0, -0.4, -0.6], dtype=torch.float64)
    slope = (optimum(costs, b + step * direction) - optimum(costs, b - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((found.columns * direction).sum()), rel=1e-5)


def test_a_start_at_the_solution_stays_there():
    costs, a, b = problem()
    solved = sinkhorn(costs, a, b, 0.05, 2000)
    again = sinkhorn(costs, a, b, 0.05, 1, columns=solved.columns)
    torch.testing.assert_close(again.plan, solved.plan)
    cold = sinkhorn(costs, a, b, 0.05, 1).plan
    assert (cold - solved.plan).abs().max() > 1e-3


def test_large_costs_stay_finite():
    costs, a, b = problem()
    found = sinkhorn((costs * 1e6).float(), a.float(), b.float(), 0.1, 20)
    assert all(torch.isfinite(part).all() for part in found)
