"""What the GPU kernel must do; `test_lookup_triton` runs this file, where there is no GPU in Triton's interpreter."""

import pytest
import torch

from impl.quantizers.lookup import nearest_codes
from impl.quantizers.lookup_triton import nearest_codes_fused

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter multiplies bfloat16 as the integers that it keeps it in.
TYPES = [torch.float32, torch.float16] + [torch.bfloat16] * torch.cuda.is_available()


def data(rows, codes, dim, seed=0):
    draw = torch.Generator().manual_seed(seed)
    parts = torch.randn(rows, dim, generator=draw), torch.randn(codes, dim, generator=draw)
    return (part.to(DEVICE) for part in parts)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("rows", "codes", "dim"),
    [(1, 1, 1), (70, 5, 3), (64, 128, 16), (65, 129, 64), (130, 300, 100), (200, 17, 130)],
)
def test_equals_float64_brute_force(rows, codes, dim, dtype):
    vectors, codewords = data(rows, codes, dim)
    vectors, codewords = vectors.to(dtype), codewords.to(dtype)
    found = nearest_codes_fused(vectors, codewords)
    distances = torch.cdist(vectors.double(), codewords.double())
    chosen = distances.gather(1, found[:, None]).squeeze(1)
    torch.testing.assert_close(chosen, distances.min(dim=1).values, rtol=1e-5, atol=1e-5)
    assert torch.equal(found, nearest_codes(vectors.cpu(), codewords.cpu()).to(DEVICE))


def test_ties_go_to_the_lowest_index_inside_and_across_blocks():
    codewords = torch.tensor([[5.0], [1.0], [-1.0], [1.0], [-1.0]], device=DEVICE).repeat(100, 1)
    vectors = torch.tensor([[0.0], [1.0], [-1.0], [9.0]], device=DEVICE)
    assert nearest_codes_fused(vectors, codewords).tolist() == [1, 1, 2, 0]


def test_far_from_the_origin_nothing_is_lost():
    vectors, codewords = data(200, 64, 16)
    truth = torch.cdist((vectors + 1000).double(), (codewords + 1000).double()).argmin(dim=1)
    assert (nearest_codes_fused(vectors + 1000, codewords + 1000) == truth).float().mean() > 0.99


def test_views_and_empty_batches():
    vectors, codewords = data(40, 30, 8)
    expected = nearest_codes_fused(vectors[::2].contiguous(), codewords[:, 1:5].repeat(1, 2).contiguous())
    assert torch.equal(nearest_codes_fused(vectors[::2], codewords[:, 1:5].repeat(1, 2)), expected)
    assert nearest_codes_fused(vectors[:0], codewords).shape == (0,)


@pytest.mark.gpu
def test_a_gpu_search_goes_through_the_kernel_and_makes_no_matrix():
    if DEVICE == "cpu":
        pytest.skip("no CUDA device")
    vectors, codewords = data(2**17, 2**13, 64)
    nearest_codes(vectors[:128], codewords)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    nearest_codes(vectors, codewords)
    assert torch.cuda.max_memory_allocated() - before < 16 * 2**20
