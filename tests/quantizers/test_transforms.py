"""Principal axes against NumPy and scikit-learn; eigenvalue allocation by hand and by brute force."""

import itertools

import pytest
import torch

from impl.quantizers.transforms import eigenvalue_allocation, principal_axes


def data():
    return torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7.0) + 3


def test_axes_diagonalise_the_covariance():
    mean, axes, variances = principal_axes(data())
    torch.testing.assert_close(mean, data().mean(dim=0))
    torch.testing.assert_close(axes.T @ axes, torch.eye(6), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        torch.cov(((data() - mean) @ axes).T, correction=0), variances.diag(), rtol=1e-4, atol=1e-4
    )
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)


def test_axes_agree_with_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    theirs = decomposition.PCA(6).fit(data().numpy())
    _, axes, variances = principal_axes(data())
    torch.testing.assert_close(
        variances * 500 / 499, torch.from_numpy(theirs.explained_variance_), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        (axes.T @ torch.from_numpy(theirs.components_).T).abs(), torch.eye(6), rtol=0, atol=1e-3
    )


def test_fewer_vectors_than_dimensions_and_equal_vectors():
    _, axes, variances = principal_axes(data()[:2])
    torch.testing.assert_close(axes.T @ axes, torch.eye(6), rtol=0, atol=1e-6)
    assert (variances[1:] < 1e-6 * variances[0]).all()
    assert principal_axes(data()[:1].expand(5, 6))[2].max() < 1e-9


def test_allocation_of_16_8_4_2():
    assert eigenvalue_allocation(torch.tensor([16.0, 8.0, 4.0, 2.0]), 2).tolist() == [0, 3, 1, 2]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_allocation_balances_products_whatever_the_scale(scale):
    """A geometric spectrum in two parts: slices in order are worst; the products end within one ratio of another."""
    logarithms = -torch.arange(8.0)
    order = eigenvalue_allocation(logarithms.exp() * scale, 2)
    assert sorted(order.tolist()) == list(range(8))

    def imbalance(part):
        return abs(2 * logarithms[part].sum() - logarithms.sum()).item()

    every = [imbalance(list(part)) for part in itertools.combinations(range(8), 4)]
    assert imbalance(order[:4]) <= 1 and imbalance([0, 1, 2, 3]) == max(every) == 16


def test_allocation_takes_zero_variances_and_refuses_uneven_parts():
    assert sorted(eigenvalue_allocation(torch.zeros(4), 2).tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="parts must divide the number of variances, got 4 parts of 6"):
        eigenvalue_allocation(torch.ones(6), 4)
