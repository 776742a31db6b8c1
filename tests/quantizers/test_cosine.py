"""Directions as codes: the laws, the moving average by hand, and an independent implementation."""

import torch
import torch.nn.functional as F
from vector_quantize_pytorch import VectorQuantize

from impl.checks import check_quantizer
from impl.quantizers.cosine import CosineVQ, DirectionAverage


def test_it_keeps_the_laws_of_quantizers():
    check_quantizer(CosineVQ)


def test_codes_and_codewords_ignore_length():
    torch.manual_seed(0)
    quantizer = CosineVQ(4, 8, initialization="uniform").eval()
    vectors = torch.randn(50, 4)
    assert torch.equal(quantizer.encode(vectors), quantizer.encode(vectors * torch.rand(50, 1) * 9))
    assert torch.equal(quantizer.encode(vectors)[:, 0], quantizer.similarities(vectors).argmax(dim=1))
    torch.testing.assert_close(quantizer(vectors).latents.norm(dim=1), torch.ones(50))


def test_codewords_move_along_the_sphere():
    torch.manual_seed(0)
    before = F.normalize(torch.randn(3, 4), dim=1)
    units = F.normalize(torch.randn(6, 4), dim=1)
    codes = torch.tensor([0, 0, 2, 2, 2, 0])
    sums = torch.stack([units[codes == code].sum(dim=0) for code in range(3)])
    after = DirectionAverage(before, 0.8).step(torch.tensor([3.0, 0, 3]), sums)
    assert torch.equal(after[1], before[1])
    for code in (0, 2):
        mean = units[codes == code].mean(dim=0)
        expected = 0.8 * before[code] + 0.2 * mean / mean.norm()
        torch.testing.assert_close(after[code], expected / expected.norm())


def test_it_agrees_with_vector_quantize_pytorch():
    torch.manual_seed(0)
    ours = CosineVQ(4, 8, initialization="uniform").eval()
    theirs = VectorQuantize(4, 8, use_cosine_sim=True, kmeans_init=False).eval()
    theirs._codebook.embed.data.copy_(ours.codebook[None])
    vectors = torch.randn(100, 4)
    quantized, codes, _ = theirs(vectors)
    assert torch.equal(ours.encode(vectors)[:, 0], codes)
    torch.testing.assert_close(ours(vectors).latents, quantized)
