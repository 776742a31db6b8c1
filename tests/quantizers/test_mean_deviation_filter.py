"""The bound from means and deviations: never above the distance, exact search, share of skipped distances."""

import torch

from impl.data.images import patch_vectors
from impl.quantizers.kmeans import kmeans
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.mean_deviation_filter import filtered_nearest, mean_deviation_bound


def pairs():
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(1000, 1, generator=generator, dtype=torch.float64) * 5
    vectors = torch.randn(1000, 16, generator=generator, dtype=torch.float64) * scale + scale
    return vectors, torch.randn(64, 16, generator=generator, dtype=torch.float64) * 2


def test_the_bound_never_exceeds_the_distance():
    vectors, codewords = pairs()
    bounds, distances = mean_deviation_bound(vectors, codewords), torch.cdist(vectors, codewords).square()
    assert (bounds <= distances + 1e-9).all() and (bounds > 0.01 * distances).any()


def test_the_bound_is_tight_in_one_and_two_dimensions():
    vectors, codewords = pairs()
    one = mean_deviation_bound(vectors[:, :1], codewords[:, :1])
    torch.testing.assert_close(one, (vectors[:, :1] - codewords[:, 0]).square())
    # Two coordinates in one order (a <= b) are determined by mean and deviation.
    ordered = [rows[:, :2].sort(dim=1).values for rows in (vectors, codewords)]
    torch.testing.assert_close(
        mean_deviation_bound(*ordered), torch.cdist(*ordered).square(), atol=1e-8, rtol=1e-6
    )


def test_the_search_is_exact():
    vectors, codewords = pairs()
    codes, computed = filtered_nearest(vectors, codewords)
    assert torch.equal(codes, nearest_codes(vectors, codewords)) and 1000 <= computed < 64_000
    assert filtered_nearest(vectors[:0], codewords)[0].shape == (0,)


def test_most_distances_are_skipped_on_patches():
    codewords = kmeans(patch_vectors("train"), 64, 10)
    codes, computed = filtered_nearest(patch_vectors("test"), codewords)
    assert torch.equal(codes, nearest_codes(patch_vectors("test"), codewords))
    assert computed < 0.2 * 2000 * 64
