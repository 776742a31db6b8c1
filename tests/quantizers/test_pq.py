"""Product quantization: the product codebook by brute force, the sum of the parts, faiss."""

import itertools

import pytest
import torch

from impl.benches import normalised_error
from impl.data.images import digits, patch_vectors
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.vq_vae import VectorQuantizer


def data(rows=1000, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_one_part_is_plain_vq():
    ours = ProductQuantizer(6, 8, 1).fit(data())
    plain = VectorQuantizer(6, 8).fit(data())
    assert torch.equal(ours.encode(data(seed=1)), plain.encode(data(seed=1)))


def test_the_code_is_the_nearest_of_the_whole_product_codebook():
    pq, latents = ProductQuantizer(6, 3, 3).fit(data()), data(50, seed=1)
    tuples = torch.tensor(list(itertools.product(range(3), repeat=3)))
    table = pq.decode(tuples)
    nearest = (latents[:, None] - table[None]).square().sum(dim=-1).argmin(dim=1)
    assert torch.equal(pq.encode(latents), tuples[nearest])


def test_the_error_is_the_sum_over_the_parts():
    pq, latents = ProductQuantizer(6, 4, 2).fit(data()), data(100, seed=1)
    whole = (pq.decode(pq.encode(latents)) - latents).square().sum()
    parts = sum(
        (part.decode(part.encode(piece)) - piece).square().sum()
        for part, piece in zip(pq.parts, latents.chunk(2, dim=1), strict=True)
    )
    torch.testing.assert_close(whole, parts)


def test_losses_are_those_of_one_quantizer_over_all_dimensions():
    pq, latents = ProductQuantizer(6, 4, 2, commitment_weight=1.0), data(20).requires_grad_()
    output = pq(latents)
    torch.testing.assert_close(
        output.losses["commitment"], (latents - output.latents.detach()).square().mean()
    )


def test_fit_is_as_good_as_faiss_and_codes_agree():
    faiss = pytest.importorskip("faiss")
    vectors = data(4000, 16)
    theirs = faiss.ProductQuantizer(16, 4, 4)
    theirs.train(vectors.numpy())
    decoded = theirs.decode(theirs.compute_codes(vectors.numpy()))
    ours = ProductQuantizer(16, 16, 4).fit(vectors, iterations=50)
    error = (ours.decode(ours.encode(vectors)) - vectors).square().mean()
    assert error < 1.02 * ((decoded - vectors.numpy()) ** 2).mean()
    centroids = faiss.vector_to_array(theirs.centroids).reshape(4, 16, 4)
    for part, table in zip(ours.parts, centroids, strict=True):
        part.set_codebook(torch.from_numpy(table))
    packed = torch.from_numpy(
        theirs.compute_codes(vectors.numpy())
    ).long()  # two 4-bit codes a byte, low first
    unpacked = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(1)
    assert torch.equal(ours.encode(vectors), unpacked)


def test_parts_must_divide_the_width():
    with pytest.raises(ValueError, match="num_codebooks must divide dim, got num_codebooks=4 and dim=6"):
        ProductQuantizer(6, 8, 4)


def test_asymmetric_distances_are_closer_to_the_truth_than_symmetric_ones():
    """|q - x^|^2 errs less than |q^ - x^|^2: the query need not be quantized."""
    pq = ProductQuantizer(6, 4, 2).fit(data())
    queries, items = data(50, seed=1), data(200, seed=2)
    decoded, truth = pq.decode(pq.encode(items)), torch.cdist(queries, items).square()
    asymmetric = torch.cdist(queries, decoded).square()
    symmetric = torch.cdist(pq.decode(pq.encode(queries)), decoded).square()
    assert (asymmetric - truth).square().mean() < 0.8 * (symmetric - truth).square().mean()


@pytest.mark.claim
def test_leaves_less_error_than_one_codebook_of_the_same_memory():
    """1,024 numbers of codewords: four books of 16 quarters (16 bits) against 16 whole vectors (4 bits)."""
    for load in (patch_vectors, lambda split: digits(split).flatten(1)):
        held_out = load("test")
        for seed in range(3):
            product = normalised_error(ProductQuantizer(64, 16, 4), load("train"), held_out, seed)
            single = normalised_error(VectorQuantizer(64, 16), load("train"), held_out, seed)
            assert product < 0.85 * single
