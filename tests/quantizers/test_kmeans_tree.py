"""The tree of centres: children belong to their parent, small nodes, one level."""

import pytest
import torch

from impl.quantizers.kmeans import kmeans
from impl.quantizers.kmeans_tree import kmeans_tree
from impl.quantizers.lookup import nearest_codes


def data(rows=400, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_one_level_is_kmeans():
    (only,) = kmeans_tree(data(), [6], seed=3)
    assert torch.equal(only, kmeans(data(), 6, seed=3))


def test_a_node_is_the_mean_of_its_children_weighted_by_their_members():
    vectors = data()
    first, second, third = kmeans_tree(vectors, [4, 3, 2], iterations=200)
    assert (first.shape, second.shape, third.shape) == ((4, 3), (12, 3), (24, 3))
    own = nearest_codes(vectors, first)
    for node in range(4):
        members = vectors[own == node]
        children = second[3 * node : 3 * node + 3]
        counts = torch.bincount(nearest_codes(members, children), minlength=3).float()
        torch.testing.assert_close((counts @ children) / counts.sum(), first[node], rtol=0, atol=1e-5)


def test_children_of_small_nodes_repeat_their_vectors():
    vectors = torch.tensor([[0.0, 0], [0, 1], [9, 9], [9, 9]])
    first, second = kmeans_tree(vectors, [4, 3])
    assert {tuple(row) for row in second.tolist()} == {tuple(row) for row in vectors.tolist()}
    assert torch.isfinite(first).all()


def test_a_node_that_nothing_reaches_is_its_own_children():
    vectors = torch.zeros(5, 2)  # five equal centres: the first takes all vectors
    first, second = kmeans_tree(vectors + 2, [5, 2])
    assert torch.equal(second, first.repeat_interleave(2, dim=0))


def test_no_levels_are_refused():
    with pytest.raises(ValueError, match="branching must name"):
        kmeans_tree(data(), [])
