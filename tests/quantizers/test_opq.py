"""OPQ: the closed form's properties, faiss, search, and its claim."""

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.data.images import digits, patch_vectors
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.search import LookupIndex, exact_neighbours, recall_at

LOADERS = {"patches": patch_vectors, "digits": lambda split: digits(split).flatten(1), "mixture": mixture}


def gaussian(rows=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(8, 8, generator=torch.Generator().manual_seed(7))
    return torch.randn(rows, 8, generator=generator) @ shape


def error(quantizer, vectors):
    return (quantizer.decode(quantizer.encode(vectors)) - vectors).square().mean().item()


def test_parts_of_the_closed_form_are_uncorrelated():
    quantizer = OptimizedProductQuantizer(8, 8, 2, parametric=True).fit(gaussian())
    turned = quantizer.rotated(gaussian())
    covariance = torch.cov((turned - turned.mean(dim=0)).T)
    off = covariance - covariance.diagonal().diag()
    assert off.abs().max() < 1e-3 * covariance.diagonal().max()


def test_the_closed_form_does_not_mind_a_rotation_of_the_data_and_pq_does():
    turn = torch.linalg.qr(gaussian(8, seed=3))[0]
    before, after = (
        error(OptimizedProductQuantizer(8, 16, 2, parametric=True).fit(x), x)
        for x in (gaussian(), gaussian() @ turn)
    )
    assert after == pytest.approx(before, rel=0.03)
    assert error(ProductQuantizer(8, 16, 2).fit(gaussian()), gaussian()) > 1.05 * before


def test_no_worse_than_faiss():
    faiss = pytest.importorskip("faiss")
    train, test = patch_vectors("train"), patch_vectors("test")
    matrix = faiss.OPQMatrix(64, 4)
    matrix.niter, matrix.pq = 25, faiss.ProductQuantizer(64, 4, 4)
    matrix.train(train.numpy())
    product = faiss.ProductQuantizer(64, 4, 4)
    product.train(matrix.apply(train.numpy()))
    turned = matrix.apply(test.numpy())
    theirs = ((product.decode(product.compute_codes(turned)) - turned) ** 2).mean()
    assert error(OptimizedProductQuantizer(64, 16, 4).fit(train), test) < 1.03 * theirs


def test_search_by_tables_is_search_among_decoded_items():
    quantizer = OptimizedProductQuantizer(8, 16, 2).fit(gaussian())
    items, queries = gaussian(500, 1), gaussian(20, 2)
    _, found = LookupIndex(quantizer, items).search(queries, 5)
    assert torch.equal(found, exact_neighbours(queries, quantizer.decode(quantizer.encode(items)), 5))


@pytest.mark.claim
def test_rotation_leaves_less_error():
    """16 bits: at least 10 % less than PQ on patches and the mixture; on digits, far from Gaussian, the closed form
    alone is worse than PQ.
    """
    for name, load in LOADERS.items():
        train, test = load("train"), load("test")
        for seed in range(3):
            shape = (train.shape[1], 16, 4)
            plain = normalised_error(ProductQuantizer(*shape), train, test, seed)
            rotated = normalised_error(OptimizedProductQuantizer(*shape), train, test, seed)
            assert rotated < (1.0 if name == "digits" else 0.9) * plain, name
            closed = normalised_error(OptimizedProductQuantizer(*shape, parametric=True), train, test, seed)
            assert (closed > plain) == (name == "digits"), name


@pytest.mark.claim
def test_neighbours_are_found_more_often():
    train, queries = mixture("train"), mixture("test")[:300]
    nearest = exact_neighbours(queries, train, 1)[:, 0]
    recalls = []
    for make in (ProductQuantizer, OptimizedProductQuantizer):
        index = LookupIndex(make(32, 16, 4).fit(train), train)
        recalls.append(recall_at(index.search(queries, 100)[1], nearest, 100))
    assert recalls[1] > recalls[0] + 0.02, recalls
