"""The graph convolution against dense matrices written by hand."""

import torch

from impl.networks.message_passing import GraphConvolution

EDGES = torch.tensor([[0, 1], [1, 2], [0, 2], [3, 2]])


def test_it_is_the_normalised_adjacency_times_the_mapped_nodes():
    torch.manual_seed(0)
    layer, nodes = GraphConvolution(3, 4), torch.randn(5, 3)
    torch.nn.init.normal_(layer.bias)
    adjacency = torch.eye(5)
    for first, second in EDGES.tolist():
        adjacency[first, second] = adjacency[second, first] = 1
    half = torch.diag(adjacency.sum(dim=1) ** -0.5)
    expected = half @ adjacency @ half @ nodes @ layer.linear.weight.T + layer.bias
    torch.testing.assert_close(layer(nodes, EDGES), expected)


def test_a_message_goes_one_edge_far():
    torch.manual_seed(0)
    layer, nodes = GraphConvolution(3, 4), torch.randn(5, 3)
    moved = nodes.clone()
    moved[3] += 1
    changed = (layer(moved, EDGES) != layer(nodes, EDGES)).any(dim=1)
    assert changed.tolist() == [False, False, True, True, False]


def test_an_isolated_node_hears_itself():
    layer, nodes = GraphConvolution(3, 4), torch.randn(5, 3)
    torch.testing.assert_close(layer(nodes, EDGES)[4], layer.linear(nodes[4]) + layer.bias)
