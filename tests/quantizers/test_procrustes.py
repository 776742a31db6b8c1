"""The best rotation, against scipy; and a rotated quantizer is its inner one seen from another side."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.procrustes import procrustes, refine_product
from impl.quantizers.product import nearest_in_parts, take_codewords


def data(rows=300, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_scipy_and_is_orthogonal():
    linalg = pytest.importorskip("scipy.linalg")
    x, y = data().double(), data(seed=1).double()
    ours = procrustes(x, y)
    np.testing.assert_allclose(ours, linalg.orthogonal_procrustes(x.numpy(), y.numpy())[0], atol=1e-8)
    torch.testing.assert_close(ours @ ours.T, torch.eye(6, dtype=torch.float64))


def test_finds_a_rotation_that_was_made():
    made = torch.linalg.qr(data(6))[0]
    torch.testing.assert_close(procrustes(data(), data() @ made), made, rtol=1e-4, atol=1e-5)


def test_every_round_lowers_the_error():
    vectors = data(400, 8)
    codebooks, rotation, errors = data(2 * 5, 4).reshape(2, 5, 4).clone(), torch.eye(8), []
    for _ in range(12):
        rotation = refine_product(codebooks, vectors, rotation, 1)
        turned = vectors @ rotation
        decoded = take_codewords(codebooks, nearest_in_parts(turned.unflatten(1, (2, 4)), codebooks))
        errors.append((turned - decoded).square().sum().item())
    assert all(after <= before * (1 + 1e-5) for before, after in pairwise(errors))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(8), rtol=0, atol=1e-5)


def test_errors_are_those_of_the_inner_quantizer():
    vectors, quantizer = data(), OptimizedProductQuantizer(6, 8, 2).fit(data())
    turned = quantizer.rotated(vectors)
    inner = (quantizer.inner.decode(quantizer.inner.encode(turned)) - turned).square().sum(dim=1)
    outer = (quantizer.decode(quantizer.encode(vectors)) - vectors).square().sum(dim=1)
    torch.testing.assert_close(outer, inner, rtol=1e-4, atol=1e-5)


def test_bad_vectors_are_refused():
    quantizer = OptimizedProductQuantizer(6, 8, 2)
    with pytest.raises(ValueError, match="at least one"):
        quantizer.fit(torch.empty(0, 6))
    with pytest.raises(ValueError, match="finite"):
        quantizer.fit(torch.full((4, 6), torch.nan))
