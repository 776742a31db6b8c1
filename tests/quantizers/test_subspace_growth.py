"""k-means on growing subspaces: degenerate cases, equivariance, exact clusters."""

import torch

from impl.quantizers.kmeans import kmeans, lloyd
from impl.quantizers.subspace_growth import grown_codewords


def data(rows=600, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_one_step_is_k_means():
    torch.testing.assert_close(grown_codewords(data(), 8, 1, 10), kmeans(data(), 8, 10), rtol=1e-4, atol=1e-4)


def test_one_step_from_given_codewords_is_lloyd():
    expected = lloyd(data(), data()[:8], 5)
    torch.testing.assert_close(grown_codewords(data(), data()[:8], 1, 5), expected, rtol=1e-4, atol=1e-4)


def test_a_rotation_and_a_shift_of_the_data_move_the_codewords_along():
    vectors = data() * torch.arange(1.0, 7.0)  # distinct variances: the axes are unique
    rotation = torch.linalg.qr(data(6, seed=3)).Q
    codewords = grown_codewords(vectors, vectors[:8], 3, 5)
    moved = grown_codewords(vectors @ rotation + 5, vectors[:8] @ rotation + 5, 3, 5)
    torch.testing.assert_close(moved, codewords @ rotation + 5, rtol=1e-3, atol=1e-3)


def test_the_result_is_a_step_of_lloyd_away_from_no_better():
    """The last step runs at full width, so enough iterations end at a fixed point of k-means on the vectors."""
    codewords = grown_codewords(data(), 8, 4, 200)
    torch.testing.assert_close(lloyd(data(), codewords, 1), codewords, rtol=1e-4, atol=1e-4)
