"""Message passing by a loop over the triples."""

import torch

from impl.data.graphs import graph_of
from impl.networks.relational import RelationalGNN, RelationalLayer

GRAPH = graph_of(
    [("a", "r", "b"), ("b", "s", "c"), ("a", "r", "c"), ("c", "r", "c"), ("d", "s", "a"), ("a", "r", "b")]
)


def given(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 6, generator=generator), torch.randn(2, 3, generator=generator)


def by_hand(layer, entities, relations):
    received = [[] for _ in entities]
    for head, relation, tail in GRAPH.train.tolist():
        received[tail].append(layer.incoming(entities[head]) + layer.incoming_relation(relations[relation]))
        received[head].append(layer.outgoing(entities[tail]) + layer.outgoing_relation(relations[relation]))
    means = [torch.stack(messages).mean(dim=0) if messages else torch.zeros(6) for messages in received]
    return torch.stack(means) + layer.itself(entities), layer.relation(relations)


def test_a_layer_is_the_mean_of_its_messages():
    entities, relations = given()  # the fifth entity has no edge
    torch.manual_seed(0)
    layer = RelationalLayer(6, 3, last=True)
    for found, expected in zip(
        layer(entities, relations, GRAPH.edges), by_hand(layer, entities, relations), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_all_layers_but_the_last_have_a_relu():
    entities, relations = given()
    network = RelationalGNN(GRAPH, 6, 3, layers=2)
    first, last = network.layers
    middle = [part.relu() for part in by_hand(first, entities, relations)]
    for found, expected in zip(network(entities, relations), by_hand(last, *middle), strict=True):
        torch.testing.assert_close(found, expected)


def test_no_layers_change_nothing():
    entities, relations = given()
    found = RelationalGNN(GRAPH, 6, 3, layers=0)(entities, relations)
    assert torch.equal(found[0], entities) and torch.equal(found[1], relations)
