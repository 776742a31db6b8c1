"""EARL: similarities by brute force, the encoder by hand, message passing by a loop; what it keeps of a full table."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

import survey
from impl.data.graphs import KnowledgeGraph, catalog_graph, graph_of, torus_graph
from impl.models.graph.link_prediction import (
    EntityTable,
    LinkPredictor,
    filtered_ranks,
    rank_metrics,
    table_dim,
)
from impl.quantizers import earl as module
from impl.quantizers.earl import EARL, most_similar
from impl.training import train

GRAPH = torus_graph((6, 5))
SPARSE = graph_of(
    [(f"{i:02}", f"r{i * j % 5}", f"{(i * j + 1) % 30:02}") for i in range(30) for j in (1, 2, 4)]
)


def count_table(graph):
    """Incidence sums (N, 2R): outgoing roles, then incoming."""
    table = torch.zeros(graph.num_entities, 2 * graph.num_relations)
    for head, relation, tail in graph.train.tolist():
        table[head, relation] += 1
        table[tail, graph.num_relations + relation] += 1
    return table


@pytest.mark.parametrize("block", [7, 1024])
def test_the_most_similar_are_those_of_brute_force(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    reserved = torch.tensor([3, 8, 9, 20, 27])
    places, similarities = most_similar(SPARSE, reserved, 3)
    table = count_table(SPARSE)
    expected = F.cosine_similarity(table[:, None], table[reserved][None], dim=2)
    torch.testing.assert_close(similarities, expected.sort(dim=1, descending=True).values[:, :3])
    torch.testing.assert_close(expected.gather(1, places), similarities)
    torch.testing.assert_close(
        similarities[reserved, 0], torch.ones(5)
    )  # itself, or one that has the same roles


def test_weights_sum_to_one_and_reserved_entities_use_themselves_alone():
    quantizer = EARL(SPARSE, 8, 6, 3)
    own, near, roles = quantizer.weights.split([1, 3, quantizer.codes.shape[1] - 4], dim=1)
    reserved = own[:, 0] > 0
    assert reserved.sum() == 6 and quantizer.codes[reserved, 0].tolist() == list(range(6))
    torch.testing.assert_close(near.sum(dim=1), (~reserved).float())
    torch.testing.assert_close(roles.sum(dim=1), (~reserved).float())
    counts = count_table(SPARSE)
    for entity in (~reserved).nonzero()[:, 0].tolist():
        found = torch.zeros(10).index_add_(0, quantizer.codes[entity, 4:], roles[entity])
        torch.testing.assert_close(found, counts[entity] / counts[entity].sum())
    _, similarities = most_similar(SPARSE, reserved.nonzero()[:, 0], 3)
    torch.testing.assert_close(near[~reserved], torch.softmax(similarities[~reserved] / 0.2, dim=1))


def test_reserved_entities_are_their_own_embeddings_before_messages():
    quantizer = EARL(SPARSE, 8, 6, 3, layers=0).eval()
    reserved = quantizer.weights[:, 0] > 0
    assert torch.equal(quantizer().entities[reserved], quantizer.reserved)
    assert torch.equal(quantizer().relations, quantizer.phases)


def test_the_composition_by_hand():
    quantizer = EARL.tiny(SPARSE).eval()
    entity = int((quantizer.weights[:, 0] == 0).nonzero()[0, 0])
    codes, weights = quantizer.encode(torch.tensor([entity]))
    near = sum(weights[0, i] * quantizer.reserved[codes[0, i]] for i in (1, 2, 3))
    roles = sum(weights[0, i] * quantizer.roles[codes[0, i]] for i in range(4, codes.shape[1]))
    perceptron = lambda net, x: net[3](torch.relu(net[0](x)))  # noqa: E731
    expected = perceptron(quantizer.join, torch.cat([near, perceptron(quantizer.role_encoder, roles)]))
    torch.testing.assert_close(quantizer.decode(quantizer.encode(torch.tensor(entity))), expected)


def test_all_reserved_and_no_messages_is_a_table():
    quantizer = EARL(GRAPH, 8, 30, 3, layers=0)
    assert torch.equal(quantizer().entities, quantizer.reserved)


def test_messages_follow_the_edges():
    """A change of one embedding moves its neighbours after one round, theirs after two, and no other."""
    chain = graph_of([(f"{i}", "r", f"{i + 1}") for i in range(8)])
    for layers in (1, 2):
        quantizer = EARL(chain, 8, 9, 1, layers=layers).eval()
        before = quantizer().entities
        moved = quantizer.propagate(quantizer.reserved + 5 * F.one_hot(torch.tensor(4), 9)[:, None])
        changed = (moved.entities != before).any(dim=1).nonzero()[:, 0].tolist()
        assert changed == list(range(4 - layers, 5 + layers))


def test_an_isolated_entity_changes_no_other():
    names = (*SPARSE.entities, "isolated")
    larger = KnowledgeGraph(names, SPARSE.relations, SPARSE.train, SPARSE.valid, SPARSE.test)
    reserved = torch.tensor([1, 5, 6])
    places, similarities = most_similar(larger, reserved, 2)
    before = most_similar(SPARSE, reserved, 2)
    assert torch.equal(places[:-1], before[0]) and torch.equal(similarities[:-1], before[1])
    assert similarities[-1].tolist() == [0, 0]


def test_arguments_are_checked():
    for arguments, message in (
        ((GRAPH, 8, 31), "num_reserved must be at most the 30 entities, got 31"),
        ((GRAPH, 8, 4, 5), "num_neighbours must be at most the 4 reserved entities, got 5"),
        ((GRAPH, 8, 4, 2, 0.0), "temperature must be positive"),
        ((GRAPH, 7, 4, 2), "dim must be even"),
    ):
        with pytest.raises(ValueError, match=message):
            EARL(*arguments)


@cache
def catalog():
    return catalog_graph(survey.load().works)


def score(model, seed, margin, learning_rate):
    predictor = LinkPredictor(model, catalog(), margin=margin)
    options = {
        "steps": 200,
        "batch_size": 256,
        "seed": seed,
        "learning_rate": learning_rate,
        "progress": False,
    }
    train(predictor, catalog().train, **options)
    return rank_metrics(filtered_ranks(predictor, catalog(), catalog().test))["mrr"]


@pytest.mark.claim
def test_keeps_nearly_half_of_a_larger_table_and_does_not_beat_an_equal_one():
    """On the catalog's graph of some 1,000 entities; margins and rates of each chosen on the validation triples."""
    rows = []
    for seed in range(3):
        torch.manual_seed(seed)
        ours = EARL(catalog(), 16, 100, seed=seed)
        size = sum(parameter.numel() for parameter in ours.parameters())
        full, thin = EntityTable(catalog(), 32), EntityTable(catalog(), table_dim(catalog(), size))
        rows.append([score(ours, seed, 3.0, 0.01), score(full, seed, 3.0, 0.03), score(thin, seed, 1.0, 0.1)])
    ours, full, thin = torch.tensor(rows).T
    assert (ours > 0.4 * full).all()
    assert ours.mean() < thin.mean() + 0.01
