"""The contract's small parts: bits, sums of codewords, initialisations. Its laws are in tests/contracts."""

import math

import pytest
import torch

from impl.quantizers.entities import Perceptron, codeword_table, even, uniform_phases, weighted_sum
from impl.quantizers.nodepiece import NodePiece


def test_bits_are_the_sum_over_the_columns():
    tiny = NodePiece.tiny()
    hops = len(tiny.hops)
    assert tiny.codebook_sizes == (6,) * 3 + (hops,) * 3 + (16,) * 2
    assert tiny.bits == pytest.approx(3 * math.log2(6) + 3 * math.log2(hops) + 8)
    assert tiny.num_entities == 30


def test_a_weighted_sum_by_hand():
    table = torch.tensor([[1.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    found = weighted_sum(table, torch.tensor([[0, 1], [2, 2]]), torch.tensor([[2.0, 0.5], [1.0, 0.0]]))
    assert found.tolist() == [[2.0, 5.0], [5.0, 5.0]]


def test_initial_scales():
    torch.manual_seed(0)
    table, phases = codeword_table(300, 20).detach(), uniform_phases(400, 10).detach()
    assert float(table.abs().max()) <= math.sqrt(2 * 6 / 320)
    assert float(table.std()) == pytest.approx(math.sqrt(4 / 320), rel=0.05)
    assert phases.shape == (400, 5) and 3.0 < float(phases.abs().max()) <= math.pi


def test_a_perceptron_has_two_layers():
    network = Perceptron(3, 5, 2, dropout=0.5).eval()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), network[3](network[0](x).relu()))


@pytest.mark.parametrize("value", [3, 0, 2.0, True])
def test_widths_are_even(value):
    with pytest.raises((ValueError, TypeError), match="dim must be"):
        even("dim", value)
