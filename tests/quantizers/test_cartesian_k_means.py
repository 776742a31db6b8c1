"""Cartesian k-means and its binary case: degenerate cases, monotone objective, claims."""

from itertools import pairwise

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.checks import check_quantizer
from impl.data.images import digits
from impl.quantizers.cartesian_k_means import CartesianKMeans, OrthogonalKMeans
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.vq_vae import VectorQuantizer

LOADERS = {"digits": lambda split: digits(split).flatten(1), "mixture": mixture}


def data(rows=600, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def error(quantizer, vectors):
    return (quantizer.decode(quantizer.encode(vectors)) - vectors).square().mean().item()


@pytest.mark.parametrize("method", [CartesianKMeans, OrthogonalKMeans])
def test_laws(method):
    check_quantizer(method)


def test_one_part_is_k_means():
    """With one part a rotation turns centres and vectors alike."""
    ours, plain = CartesianKMeans(6, 8, 1).fit(data(), 40), VectorQuantizer(6, 8).fit(data(), 40)
    assert error(ours, data()) == pytest.approx(error(plain, data()), rel=0.03)


@pytest.mark.parametrize("method", [lambda: CartesianKMeans(6, 4, 2), lambda: OrthogonalKMeans(6)])
def test_more_rounds_never_hurt_in_training(method):
    errors = [error(method().fit(data(), rounds), data()) for rounds in (1, 2, 4, 8, 16)]
    assert all(after <= before * (1 + 1e-5) for before, after in pairwise(errors)), errors


def test_a_hypercube_that_was_turned_is_found():
    """Vectors at the corners of a turned box are decoded almost exactly, from one bit an axis."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    corners = torch.randint(0, 2, (800, 4), generator=generator) * 2.0 - 1
    vectors = corners * torch.tensor([1.0, 2.0, 3.0, 4.0]) @ turn + 5
    errors = [error(OrthogonalKMeans(4).fit(vectors, 60, seed), vectors) for seed in range(4)]
    assert min(errors) < 1e-6


def test_signs_by_hand():
    quantizer = OrthogonalKMeans(3).fit(data(50, 3))
    rotated = (data(50, 3) - quantizer.mean) @ quantizer.rotation
    assert torch.equal(quantizer.encode(data(50, 3)), (rotated >= 0).long())
    assert (quantizer.scale > 0).all()


@pytest.mark.claim
def test_less_error_than_product_quantization():
    """16 bits: at least 10 % less on digits and the mixture."""
    for load in LOADERS.values():
        train, test = load("train"), load("test")
        for seed in range(3):
            plain = normalised_error(ProductQuantizer(train.shape[1], 16, 4), train, test, seed)
            ours = normalised_error(CartesianKMeans(train.shape[1], 16, 4), train, test, seed)
            assert ours < 0.9 * plain
