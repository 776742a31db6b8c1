"""The frozen table seen through a linear layer: the law of its update, and that the frozen part is frozen."""

import pytest
import torch

from impl.quantizers.projected import ProjectedCodebook


def test_a_step_moves_all_codewords_by_the_change_of_the_layer():
    torch.manual_seed(0)
    quantizer = ProjectedCodebook(4, torch.randn(8, 6))
    table, frozen = quantizer.codewords().detach(), quantizer.frozen.clone()
    weight, bias = (parameter.detach().clone() for parameter in quantizer.projection.parameters())
    quantizer.train()(torch.randn(1, 4)).losses["codebook"].backward()
    torch.optim.SGD(quantizer.parameters(), lr=0.1).step()
    moved = quantizer.codewords().detach() - table
    change = quantizer.projection.weight.detach() - weight, quantizer.projection.bias.detach() - bias
    torch.testing.assert_close(moved, frozen @ change[0].T + change[1])
    assert (moved.abs().sum(dim=1) > 0).all() and torch.equal(quantizer.frozen, frozen)


def test_the_table_is_the_quantizers_own_copy():
    frozen = torch.randn(8, 4)
    quantizer = ProjectedCodebook(4, frozen)
    before = quantizer.codewords().clone()
    frozen.zero_()
    assert torch.equal(quantizer.codewords(), before)


def test_a_vector_is_no_table():
    with pytest.raises(ValueError, match=r"frozen must be a table \(K, F\), got shape \(8,\)"):
        ProjectedCodebook(4, torch.randn(8))
