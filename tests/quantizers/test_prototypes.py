"""Ward prototypes: scikit-learn's clusters, means by hand, levels that nest, equal vectors."""

import pytest
import torch

from impl.quantizers.prototypes import ward_prototypes


def data(rows=80, dim=4, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_levels_nest_and_centres_are_means():
    vectors = data()
    fine, coarse = ward_prototypes(vectors, [12, 5])
    for level, count in ((fine, 12), (coarse, 5)):
        assert level.centres.shape == (count, 4)
        for cluster in range(count):
            torch.testing.assert_close(
                level.centres[cluster], vectors[level.assignments == cluster].mean(dim=0)
            )
    for cluster in range(12):
        assert len(coarse.assignments[fine.assignments == cluster].unique()) == 1


def test_agrees_with_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    theirs = torch.from_numpy(
        cluster.AgglomerativeClustering(6, linkage="ward").fit_predict(data().double().numpy())
    )
    (ours,) = ward_prototypes(data(), [6])
    pairs = torch.stack([ours.assignments, theirs], dim=1).unique(dim=0)
    assert len(pairs) == 6  # the same clusters under other names


def test_equal_vectors_leave_fewer_clusters():
    (level,) = ward_prototypes(data(2).repeat(10, 1), [5])
    assert len(level.centres) == 2
