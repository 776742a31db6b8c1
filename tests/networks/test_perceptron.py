"""Fully connected networks: layers by hand, shapes there and back, each token from its own outputs."""

import pytest
import torch

from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder, perceptron


def test_shapes_there_and_back():
    shape = {"channels": 3, "side": 8, "dim": 5, "tokens": 4}
    features = PerceptronEncoder(**shape)(torch.zeros(2, 3, 8, 8))
    assert features.shape == (2, 5, 1, 4)
    assert PerceptronDecoder(**shape)(features).shape == (2, 3, 8, 8)


def test_the_decoder_reads_the_tokens_where_the_encoder_writes_them():
    """Token t is outputs t D to (t + 1) D of the last layer, on both sides."""
    shape = {"channels": 1, "side": 2, "dim": 3, "tokens": 2}
    encoder, decoder = PerceptronEncoder(**shape), PerceptronDecoder(**shape)
    flat = torch.arange(6.0)[None]
    tokens = encoder.layers[-1](flat)
    assert tokens[0, :, 0, 1].tolist() == [3, 4, 5]
    assert torch.equal(decoder.layers[0](tokens), flat)


def test_plain_layers_by_hand():
    network = perceptron([3, 5, 2])
    first, last = network[0], network[2]
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected)
    assert len(perceptron([3, 2])) == 1
    with pytest.raises(ValueError, match="at least two numbers"):
        perceptron([3])
