"""LOPQ: degenerate cases, brute force over each cell's codebooks, and its claim at equal bits."""

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.data.images import digits
from impl.quantizers import lopq as module
from impl.quantizers.lopq import LocallyOptimizedPQ
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.residual import ResidualOfQuantizers
from impl.quantizers.vq_vae import VectorQuantizer


def data(rows=900, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, dim + 1)


def error(quantizer, vectors):
    return (quantizer.decode(quantizer.encode(vectors)) - vectors).square().mean().item()


def test_one_cell_is_the_closed_form_of_opq():
    ours = LocallyOptimizedPQ(6, 1, 8, 2).fit(data())
    closed = OptimizedProductQuantizer(6, 8, 2, parametric=True).fit(data() - data().mean(dim=0))
    assert error(ours, data()) == pytest.approx(error(closed, data() - data().mean(dim=0)), rel=0.02)


@pytest.mark.parametrize("shared", [False, True])
def test_codes_are_the_nearest_of_the_own_cell(shared, monkeypatch):
    quantizer, vectors = LocallyOptimizedPQ(6, 3, 8, 2, shared).fit(data()), data(40, seed=1)
    codes = quantizer.encode(vectors)
    assert torch.equal(torch.cdist(vectors, quantizer.centres).argmin(dim=1), codes[:, 0])
    for x, code in zip(vectors, codes, strict=True):
        cell = int(code[0])
        local = (x - quantizer.centres[cell]) @ quantizer.rotations[cell]
        table = quantizer.codebooks[0 if shared else cell]
        best = [
            (part - words).square().sum(dim=1).argmin()
            for part, words in zip(local.chunk(2), table, strict=True)
        ]
        assert code[1:].tolist() == [int(index) for index in best]
    monkeypatch.setattr(module, "BLOCK", 200)
    assert torch.equal(quantizer.encode(vectors), codes)


def test_rotations_are_orthogonal_and_an_empty_cell_harms_nothing():
    quantizer = LocallyOptimizedPQ(6, 8, 4, 2).fit(data(5))
    eye = torch.eye(6).expand(8, -1, -1)
    torch.testing.assert_close(
        quantizer.rotations @ quantizer.rotations.transpose(1, 2), eye, rtol=0, atol=1e-5
    )
    assert torch.isfinite(quantizer.decode(quantizer.encode(data(5)))).all()


@pytest.mark.claim
def test_local_rotations_beat_a_global_one_at_equal_bits():
    """With the cell's bits counted: at least 10 % less error than coarse cells with one OPQ on digits, 20 % on the
    mixture; sub-codebooks shared by all cells still 5 % and 12 % less.
    """
    loaders = {"digits": (lambda split: digits(split).flatten(1), 4), "mixture": (mixture, 8)}
    for name, (load, cells) in loaders.items():
        train, test = load("train"), load("test")
        for seed in range(3):
            dim = train.shape[1]
            coarse = [VectorQuantizer(dim, cells), OptimizedProductQuantizer(dim, 16, 4)]
            plain = normalised_error(ResidualOfQuantizers(coarse), train, test, seed)
            own = normalised_error(LocallyOptimizedPQ(dim, cells, 16, 4), train, test, seed)
            shared = normalised_error(LocallyOptimizedPQ(dim, cells, 16, 4, shared=True), train, test, seed)
            assert own < (0.9 if name == "digits" else 0.8) * plain, (name, own, plain)
            assert shared < (0.95 if name == "digits" else 0.88) * plain, (name, shared, plain)
            product = [VectorQuantizer(dim, cells), ProductQuantizer(dim, 16, 4)]
            assert own < 0.85 * normalised_error(ResidualOfQuantizers(product), train, test, seed)
