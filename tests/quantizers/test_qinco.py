"""QINCo: the network by hand, and its claim."""

import pytest
import torch

from impl.benches import mixture, normalised_error
from impl.quantizers.qinco import CodewordNetwork, QINCo
from impl.quantizers.rvq import ResidualVQ


def test_the_network_by_hand():
    torch.manual_seed(0)
    network = CodewordNetwork(4, 2, 8)
    c, x = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(network(c, x), c)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    z = c + torch.cat([c, x], dim=1) @ network.join.weight.T + network.join.bias
    for block in network.blocks:
        z = z + (z @ block[0].weight.T).clamp(min=0) @ block[2].weight.T
    torch.testing.assert_close(network(c, x), z)


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_less_error_than_residual_vq(seed):
    """16 bits on the mixture, held-out vectors; parameters are no part of the rate."""
    train, test = mixture("train"), mixture("test")
    torch.manual_seed(seed)
    ours = normalised_error(QINCo(32, 16, 4, steps=500), train, test, seed)
    assert ours < 0.8 * normalised_error(ResidualVQ(32, 16, 4), train, test, seed)
