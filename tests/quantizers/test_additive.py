"""Sums of codewords: decoding, the residual start, the losses inside an autoencoder."""

import pytest
import torch

from impl.quantizers.additive import AdditiveCodebooks, residual_codebooks, sum_codewords
from impl.quantizers.rvq import ResidualVQ


def data(rows=500, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_sums_by_hand():
    codebooks = torch.arange(12.0).reshape(2, 3, 2)
    assert sum_codewords(codebooks, torch.tensor([[0, 2], [1, 1]])).tolist() == [[10.0, 12.0], [10.0, 12.0]]


def test_the_residual_start_is_residual_vq():
    rvq = ResidualVQ(6, 8, 3).fit(data(), iterations=10, seed=0)
    ours = AdditiveCodebooks(6, 8, 3)
    ours.codebooks.data = residual_codebooks(data(), 8, 3, iterations=10, seed=0)
    for stage, table in zip(rvq.stages, ours.codebooks, strict=True):
        torch.testing.assert_close(stage.codebook, table)
    assert torch.equal(rvq.encode(data(50, seed=1)), ours.encode(data(50, seed=1)))
    assert torch.equal(rvq.decode(rvq.encode(data())), ours.decode(ours.encode(data())))


def test_every_codebook_gets_the_gradient_of_the_sum():
    quantizer, latents = AdditiveCodebooks(6, 8, 3), data(1).requires_grad_()
    output = quantizer(latents)
    (gradient,) = torch.autograd.grad(output.losses["codebook"], quantizer.codebooks)
    error = 2 * (output.latents - latents).detach()[0] / 6
    for table, code in zip(gradient, output.codes[0], strict=True):
        torch.testing.assert_close(table[code], error)
        assert table.count_nonzero() == 6


def test_fit_needs_vectors():
    with pytest.raises(ValueError, match="at least one vector"):
        AdditiveCodebooks(6, 8, 3).fit(data(0))
