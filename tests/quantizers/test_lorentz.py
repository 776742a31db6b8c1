"""Lorentz geometry: on the hyperboloid, distances by formula and by geoopt, flat in the limit, centroids are least."""

import pytest
import torch

from impl.quantizers import lorentz

C = torch.tensor(0.7, dtype=torch.float64)


def tangents(rows=20, width=3, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, width, generator=generator, dtype=torch.float64)


def test_points_lie_on_the_hyperboloid():
    points = lorentz.exponential(tangents(), C)
    products = lorentz.inner_products(points, points).diagonal()
    torch.testing.assert_close(products, torch.full_like(products, -1 / 0.7))
    assert (points[:, 0] > 0).all()


def test_the_logarithm_undoes_the_exponential():
    torch.testing.assert_close(lorentz.logarithm(lorentz.exponential(tangents(), C), C), tangents())


def test_a_tangent_vector_is_as_long_as_its_geodesic():
    origin = lorentz.exponential(torch.zeros(1, 3, dtype=torch.float64), C)
    distances = lorentz.geodesic_distances(origin, lorentz.exponential(tangents(), C), C)[0]
    torch.testing.assert_close(distances, tangents().norm(dim=1))


def test_distances_by_the_textbook_formula():
    first, second = lorentz.exponential(tangents(), C), lorentz.exponential(tangents(seed=1), C)
    expected = torch.acosh(-C * lorentz.inner_products(first, second)) / C.sqrt()
    torch.testing.assert_close(lorentz.geodesic_distances(first, second, C), expected)
    squares = lorentz.squared_lorentz_distances(first, second, C)
    difference = first[:, None] - second[None]
    torch.testing.assert_close(squares, difference[..., 1:].square().sum(dim=2) - difference[..., 0].square())


def test_without_curvature_all_is_euclidean():
    flat = torch.tensor(1e-4, dtype=torch.float64)
    first, second = lorentz.exponential(tangents(), flat), lorentz.exponential(tangents(seed=1), flat)
    expected = torch.cdist(tangents(), tangents(seed=1))
    torch.testing.assert_close(lorentz.geodesic_distances(first, second, flat), expected, rtol=1e-3, atol=0)


def test_the_centroid_is_the_least_weighted_sum_of_squares():
    points = lorentz.exponential(tangents(5), C)
    weights = torch.tensor([[0.1, 0.4, 0.2, 0.05, 0.25]], dtype=torch.float64)
    center = lorentz.centroids(weights, points, C)
    torch.testing.assert_close(
        lorentz.inner_products(center, center), torch.full_like(C, -1 / 0.7).view(1, 1)
    )

    def cost(point):
        return (weights * lorentz.squared_lorentz_distances(point, points, C)).sum()

    near = lorentz.logarithm(center, C) + tangents(50, scale=0.05)
    assert all(cost(center) <= cost(lorentz.exponential(row[None], C)) for row in near)


def test_the_centroid_of_one_point_is_that_point():
    points = lorentz.exponential(tangents(5), C)
    torch.testing.assert_close(lorentz.centroids(torch.eye(5, dtype=torch.float64), points, C), points)


def test_gradients_are_finite_where_distances_are_zero():
    zero = torch.zeros(2, 3, requires_grad=True)
    points = lorentz.exponential(zero, torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(
        lorentz.geodesic_distances(points, points, torch.tensor(1.0)).sum(), zero
    )
    assert torch.isfinite(gradient).all()


def test_agrees_with_geoopt():
    geoopt = pytest.importorskip("geoopt")
    space = geoopt.Lorentz(k=1 / C)  # its k is minus the inverse of the curvature
    with_time = torch.cat([torch.zeros(20, 1, dtype=torch.float64), tangents()], dim=1)
    theirs, ours = space.expmap0(with_time), lorentz.exponential(tangents(), C)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    other = lorentz.exponential(tangents(seed=1), C)
    expected = space.dist(theirs, other)
    torch.testing.assert_close(
        lorentz.geodesic_distances(ours, other, C).diagonal(), expected, atol=1e-6, rtol=1e-6
    )
