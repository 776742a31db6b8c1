"""k-means: fixed points, exact cases, the Gaussian's optimal scalar quantizer, scikit-learn."""

import pytest
import torch

from impl.quantizers.kmeans import kmeans, kmeans_of_parts, lloyd, recentred
from impl.quantizers.lookup import nearest_codes


def error(vectors, centroids):
    return (vectors - centroids[nearest_codes(vectors, centroids)]).square().sum(dim=1).mean().item()


def test_one_centroid_is_the_mean():
    vectors = torch.randn(100, 3)
    torch.testing.assert_close(kmeans(vectors, 1), vectors.mean(dim=0, keepdim=True))


@pytest.mark.parametrize("codebook_size", [4, 9])
def test_no_more_distinct_vectors_than_codes_leaves_no_error(codebook_size):
    vectors = torch.randn(4, 3)[torch.arange(200) % 4]
    # The mean of 50 equal float32 vectors is one of them up to its own rounding.
    assert error(vectors, kmeans(vectors, codebook_size)) < 1e-11


def test_fewer_vectors_than_codes():
    vectors = torch.randn(3, 2)
    centroids = kmeans(vectors, 8)
    assert centroids.shape == (8, 2) and error(vectors, centroids) == 0


def test_a_fixed_point_splits_the_energy():
    """Pythagoras: E|x|^2 = E|q|^2 + E|x - q|^2 where each centroid is the mean of its vectors."""
    vectors = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)).double()
    centroids = kmeans(vectors, 16, iterations=500)
    quantized = centroids[nearest_codes(vectors, centroids)]
    energy = vectors.square().sum()
    torch.testing.assert_close(energy, quantized.square().sum() + (vectors - quantized).square().sum())


def test_finds_far_clusters():
    centers = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0], [50.0, 300.0]])
    vectors = centers.repeat_interleave(50, dim=0) + torch.randn(250, 2) * 0.1
    assert error(vectors, kmeans(vectors, 5)) < 0.1


def test_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    kmeans(torch.ones(10, 2), 2)
    assert torch.equal(torch.rand(1), expected)


def test_no_worse_than_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    from sklearn.datasets import load_digits

    vectors = torch.tensor(load_digits().data / 16).float()
    ours = min(error(vectors, kmeans(vectors, 64, iterations=100, seed=seed)) for seed in range(3))
    theirs = cluster.KMeans(64, n_init=3, random_state=0, max_iter=100).fit(vectors.numpy()).inertia_
    assert ours < 1.02 * theirs / len(vectors)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one vector"):
        kmeans(torch.zeros(0, 2), 4)


def test_lloyd_goes_on_from_given_centroids_and_never_gets_worse():
    vectors = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    centroids = vectors[:7]
    errors = [error(vectors, lloyd(vectors, centroids, iterations)) for iterations in range(6)]
    assert errors == sorted(errors, reverse=True) and errors[0] == pytest.approx(error(vectors, centroids))
    torch.testing.assert_close(lloyd(vectors, centroids, 5), lloyd(vectors, lloyd(vectors, centroids, 2), 3))


def test_an_empty_cluster_moves_to_the_worst_vector():
    vectors, codes = torch.tensor([[0.0], [1.0], [8.0]]), torch.tensor([0, 0, 0])
    assert recentred(vectors, codes, torch.tensor([[0.0], [50.0]])).tolist() == [[3.0], [8.0]]


@pytest.mark.parametrize("shape, codebook_size", [((300, 3, 4), 16), ((5, 2, 3), 8)])
def test_parts_are_clustered_as_if_alone(shape, codebook_size):
    parts = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    together = kmeans_of_parts(parts, codebook_size, iterations=6, seed=2)
    for part, centroids in zip(parts.unbind(1), together, strict=True):
        assert torch.equal(kmeans(part, codebook_size, iterations=6, seed=2), centroids)
    with pytest.raises(ValueError, match="at least one vector"):
        kmeans_of_parts(parts[:0], codebook_size)


def test_vectors_that_need_gradients_are_clustered_without():
    vectors = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    centroids = kmeans(vectors.clone().requires_grad_(), 8)
    assert torch.equal(centroids, kmeans(vectors, 8)) and not centroids.requires_grad
