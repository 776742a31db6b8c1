"""Persistent homology: another library, known shapes, gradients."""

import math

import pytest
import torch

from impl.quantizers.persistence import death_times, loops, soft_count


def polygon(corners):
    angles = torch.arange(corners).double() * 2 * math.pi / corners
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_bars_agree_with_gudhi(seed):
    gudhi = pytest.importorskip("gudhi")
    points = torch.randn(24, 3, generator=torch.Generator().manual_seed(seed)).double()
    tree = gudhi.RipsComplex(points=points.numpy()).create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2)
    deaths = torch.tensor(sorted(tree.persistence_intervals_in_dimension(0)[:, 1])[:-1])
    torch.testing.assert_close(death_times(points), deaths)
    expected = torch.tensor(sorted(map(tuple, tree.persistence_intervals_in_dimension(1)))).double()
    found = torch.tensor(sorted(zip(*(times.tolist() for times in loops(points)), strict=True))).double()
    assert len(found) > 3
    torch.testing.assert_close(found, expected)


def test_deaths_are_the_edges_of_the_minimum_spanning_tree():
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    torch.manual_seed(0)
    points = torch.randn(50, 4).double()
    tree = csgraph.minimum_spanning_tree(torch.cdist(points, points).numpy())
    torch.testing.assert_close(death_times(points), torch.tensor(sorted(tree.data)))


def test_only_the_ends_of_edges_move():
    points = torch.tensor([[0.0, 0], [1, 0], [3, 0], [3.5, 0]], dtype=torch.float64, requires_grad=True)
    deaths = death_times(points)
    assert deaths.tolist() == [0.5, 1, 2]
    slopes = torch.autograd.grad(deaths[0], points, retain_graph=True)[0]
    assert slopes[:, 0].tolist() == [0, 0, -1, 1]
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(death_times, torch.randn(6, 3).double().requires_grad_())
    assert torch.autograd.gradcheck(loops, polygon(7).add(0.1 * torch.rand(7, 2)).requires_grad_())


@pytest.mark.parametrize("corners", [4, 6, 9])
def test_a_polygon_is_one_loop_and_a_line_none(corners):
    points = polygon(corners) + 1e-9 * torch.rand(corners, 2).double()
    births, deaths = loops(points)
    lasting = deaths - births > 1e-6
    assert lasting.sum() == 1
    torch.testing.assert_close(births[lasting].item(), 2 * math.sin(math.pi / corners), atol=1e-6, rtol=0)
    torch.testing.assert_close(soft_count(births, deaths).item(), 1.0, atol=1e-6, rtol=0)
    line = torch.arange(corners).double()[:, None] ** 1.5 * torch.ones(1, 2).double()
    assert float(soft_count(*loops(line))) < 1e-9


def test_points_in_one_place_have_a_finite_gradient():
    points = torch.zeros(3, 2, requires_grad=True)
    deaths = death_times(points)
    assert deaths.abs().max() < 1e-11 and torch.isfinite(torch.autograd.grad(deaths.sum(), points)[0]).all()
