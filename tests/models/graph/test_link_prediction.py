"""RotatE by complex arithmetic, filtered ranks by a loop over all entities, metrics by hand."""

import pytest
import torch
from torch import nn

from impl.data.files import data_root
from impl.data.graphs import graph_of, released_graph, torus_graph
from impl.models.graph import link_prediction
from impl.models.graph.link_prediction import (
    EntityTable,
    LinkPredictor,
    distances,
    filtered_ranks,
    rank_metrics,
    rotate,
    table_dim,
)
from impl.quantizers.entities import GraphEmbeddings
from impl.training import train

GRAPH = torus_graph((6, 5))


def predictor(dim=6, graph=GRAPH, **options):
    torch.manual_seed(0)
    return LinkPredictor(EntityTable(graph, dim), graph, **options)


def as_complex(vectors):
    real, imaginary = vectors.double().chunk(2, dim=-1)
    return torch.complex(real, imaginary)


def test_the_score_is_rotates_formula_in_complex_numbers():
    model = predictor()
    entities, phases = model.embeddings()
    heads, names, tails = GRAPH.train.unbind(1)
    turned = as_complex(entities[heads]) * torch.exp(1j * phases[names].double())
    expected = model.margin - (turned - as_complex(entities[tails])).abs().sum(dim=1)
    torch.testing.assert_close(model.score(GRAPH.train).double(), expected, rtol=0, atol=1e-5)


def test_turning_the_tail_back_is_turning_the_head():
    vectors, phases = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0)), torch.randn(9, 3)
    forth, back = (
        distances(rotate(vectors[0], phases), vectors[1]),
        distances(vectors[0], rotate(vectors[1], -phases)),
    )
    torch.testing.assert_close(forth, back, rtol=1e-5, atol=1e-5)


def test_equal_embeddings_have_a_finite_gradient():
    vectors = torch.zeros(3, 4, requires_grad=True)
    distances(vectors, torch.zeros(3, 4)).sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_the_loss_is_self_adversarial_negative_sampling_by_hand():
    model, triples = predictor(num_negatives=5, margin=2.0, adversarial_temperature=0.7), GRAPH.train[:4]
    torch.manual_seed(3)
    found = model(triples).losses["link"]
    torch.manual_seed(3)
    known, terms = {tuple(triple) for triple in GRAPH.train.tolist()}, []
    for side in (2, 0):
        others = torch.randint(30, (4, 5))
        for triple, row in zip(triples.tolist(), others.tolist(), strict=True):
            corrupted = [[other if place == side else triple[place] for place in range(3)] for other in row]
            corrupted = torch.tensor([one for one in corrupted if tuple(one) not in known]).reshape(-1, 3)
            scores = model.score(corrupted)
            negative = -(torch.softmax(0.7 * scores, 0) * torch.log(torch.sigmoid(-scores))).sum()
            positive = -torch.log(torch.sigmoid(model.score(torch.tensor([triple]))[0]))
            terms.append((positive + negative) / 2)
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def by_hand(model, graph, triples):
    """Ranks one by one: 1 + nearer + half the equal, over the entities that are not known answers."""
    known = {tuple(triple) for triple in graph.triples.tolist()}
    ranks = []
    for side in (2, 0):
        for triple in triples.tolist():
            asked = [
                [n if place == side else triple[place] for place in range(3)]
                for n in range(graph.num_entities)
            ]
            scores = model.score(torch.tensor(asked)).tolist()
            truth = scores[triple[side]]
            others = [
                s for s, one in zip(scores, asked, strict=True) if one != triple and tuple(one) not in known
            ]
            ranks.append(1 + sum(s > truth for s in others) + sum(s == truth for s in others) / 2)
    return torch.tensor(ranks)


@pytest.mark.parametrize("block", [1, 200, 1 << 22])
def test_filtered_ranks_are_those_of_a_loop(monkeypatch, block):
    monkeypatch.setattr(link_prediction, "_BLOCK", block)
    dense = graph_of(
        [(f"{h}", f"r{(h * t) % 2}", f"{t}") for h in range(8) for t in range(8) if (h + 3 * t) % 4],
        test=[(f"{h}", f"r{h % 2}", f"{(h * 3) % 8}") for h in range(8)],
    )
    for graph in (GRAPH, dense):
        model = predictor(graph=graph)
        with torch.no_grad():
            expected = by_hand(model, graph, graph.test)
        assert torch.equal(filtered_ranks(model, graph, graph.test), expected)


class Constant(nn.Module):
    """Tells no entity from another."""

    def forward(self):
        return GraphEmbeddings(torch.ones(30, 4), torch.zeros(8, 2))


def test_a_model_that_tells_nothing_apart_ranks_in_the_middle():
    ranks = filtered_ranks(LinkPredictor(Constant(), GRAPH), GRAPH, GRAPH.test)
    assert torch.equal(
        ranks, torch.full_like(ranks, 1 + 29 / 2)
    )  # one true answer a query, 29 others level with it


def test_metrics_by_hand():
    found = rank_metrics(torch.tensor([1.0, 2.0, 3.5, 20.0]))
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3.5 + 1 / 20) / 4)
    assert (found["hits@1"], found["hits@3"], found["hits@10"]) == (0.25, 0.5, 0.75)
    with pytest.raises(ValueError, match="at least one"):
        rank_metrics(torch.zeros(0))


def test_the_widest_table_of_a_budget():
    for budget in (68, 1000, 1091):
        dim = table_dim(GRAPH, budget)
        sizes = [sum(p.numel() for p in EntityTable(GRAPH, wide).parameters()) for wide in (dim, dim + 2)]
        assert sizes[0] <= budget < sizes[1]
    with pytest.raises(ValueError, match="parameters must be at least 68, a table of width 2, got 67"):
        table_dim(GRAPH, 67)


def test_a_table_learns_the_torus():
    """RotatE can represent translations of a torus exactly, so held-out triples come first."""
    graph, model = torus_graph((8, 6)), predictor(32, torus_graph((8, 6)), margin=4.0)
    chance = rank_metrics(filtered_ranks(model, graph, graph.test))["mrr"]
    history = train(model, graph.train, steps=300, batch_size=128, learning_rate=0.03, progress=False)
    assert history.total[-1] < history.total[0]
    assert chance < 0.2 and rank_metrics(filtered_ranks(model, graph, graph.test))["mrr"] > 0.6


def test_umls_is_completed_as_well_as_rotate_does():
    """Released triples, held out by their authors: hits@10 of published RotatE models on UMLS are above 0.9."""
    try:
        graph = released_graph("umls", data_root())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    model = predictor(32, graph, margin=3.0)
    train(model, graph.train, steps=300, batch_size=256, learning_rate=0.03, progress=False)
    found = rank_metrics(filtered_ranks(model, graph, graph.test))
    assert found["hits@10"] > 0.9 and found["mrr"] > 0.65
