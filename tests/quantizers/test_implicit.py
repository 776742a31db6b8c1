"""Neural codebooks: untrained they are residual VQ; prefixes, beams and losses by hand, for both methods."""

import itertools

import pytest
import torch

from impl.checks import check_quantizer
from impl.quantizers.qinco import QINCo
from impl.quantizers.qinco2 import QINCo2
from impl.quantizers.rvq import ResidualVQ

METHODS = {"greedy": QINCo, "beam": QINCo2}


def data(rows=500, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def error(quantizer, vectors):
    return (quantizer.decode(quantizer.encode(vectors)) - vectors).square().mean().item()


@pytest.mark.parametrize("method", METHODS.values())
def test_laws(method):
    check_quantizer(method)


def test_networks_that_return_their_codeword_make_it_residual_vq():
    plain = ResidualVQ(6, 8, 3).fit(data() - data().mean(dim=0))
    greedy = QINCo(6, 8, 3, steps=0).fit(data())
    assert error(greedy, data()) == pytest.approx(error(plain, data() - data().mean(dim=0)), rel=0.02)
    narrow = QINCo2(6, 8, 3, preselected=8, width=1, steps=0).fit(data())
    assert torch.equal(narrow.encode(data(seed=1)), greedy.encode(data(seed=1)))


@pytest.mark.parametrize("method", METHODS.values())
def test_prefixes_come_nearer_on_average(method):
    quantizer = method.tiny(6).fit(data())
    codes, scaled = quantizer.encode(data(seed=1)), quantizer._scaled(data(seed=1))
    prefixes = quantizer.prefixes(codes)
    errors = [(scaled - prefix).square().mean() for prefix in prefixes]
    assert errors[0] > errors[1] > errors[2]
    decoded = prefixes[-1] * quantizer.scale + quantizer.mean
    torch.testing.assert_close(quantizer.decode(codes), decoded)
    shorter = quantizer.prefixes(codes[:, :2])
    torch.testing.assert_close(shorter[1], prefixes[1])


def test_greedy_codes_by_hand():
    quantizer = QINCo(6, 8, 3, blocks=1, hidden=8, steps=30).fit(data())
    scaled = quantizer._scaled(data(20, seed=1))
    codes = quantizer.encode(data(20, seed=1))
    for x, code in zip(scaled, codes, strict=True):
        total = torch.zeros(6)
        for stage in range(3):
            words = quantizer.codewords(stage, total.expand(8, 6), torch.arange(8))
            assert (x - total - words).square().sum(dim=1).argmin() == code[stage]
            total = total + words[code[stage]]


def test_the_full_beam_is_the_optimum_over_all_codes():
    quantizer = QINCo2(6, 4, 3, preselected=4, width=16, blocks=1, hidden=8, steps=30).fit(data())
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    sums = quantizer.decode(every)
    best = (data(40, seed=1)[:, None] - sums).square().sum(dim=2).argmin(dim=1)
    assert torch.equal(quantizer.encode(data(40, seed=1)), every[best])


def test_wider_beams_and_more_candidates_do_not_hurt_on_average():
    quantizer = QINCo2(6, 8, 3, preselected=2, width=1, blocks=1, hidden=8, steps=60).fit(data())
    errors = []
    for preselected, width in ((2, 1), (4, 2), (8, 4), (8, 16)):
        quantizer.preselected, quantizer.width = preselected, width
        errors.append(error(quantizer, data()))
    assert errors == sorted(errors, reverse=True)


def test_more_candidates_than_codewords_are_refused():
    with pytest.raises(ValueError, match="at most codebook_size"):
        QINCo2(6, 8, 3, preselected=9)
