"""Hops against scipy's shortest paths, PageRank against networkx, roles by counting."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path

from impl.data.graphs import KnowledgeGraph, graph_of, torus_graph
from impl.quantizers import anchors as module
from impl.quantizers.anchors import (
    choose_anchors,
    degrees,
    nearest_anchors,
    padded_rows,
    page_rank,
    role_counts,
)


def scattered(entities=60, relations=3, triples=70, seed=0):
    """A sparse random graph with several components and parallel edges."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([entities, relations, entities])
    train = (torch.rand(triples, 3, generator=generator) * limits).long()
    none = torch.zeros(0, 3, dtype=torch.int64)
    names = tuple(f"e{i:02}" for i in range(entities)), tuple(f"r{i}" for i in range(relations))
    return KnowledgeGraph(*names, train, none, none)


GRAPHS = [scattered(), torus_graph((6, 5))]


def path_lengths(graph):
    head, _, tail = graph.train.T.numpy()
    shape = (graph.num_entities, graph.num_entities)
    return shortest_path(
        coo_matrix((np.ones(len(head)), (head, tail)), shape), directed=False, unweighted=True
    )


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("block", [3, 256])
def test_hops_are_shortest_paths(monkeypatch, graph, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    chosen = choose_anchors(graph, 10)
    places, hops = nearest_anchors(graph, chosen, 4)
    truth = path_lengths(graph)[:, chosen]
    for entity in range(graph.num_entities):
        reached = int(np.isfinite(truth[entity]).sum())
        used = min(reached, 4)
        expected = np.argsort(truth[entity], kind="stable")[:used]  # the earlier anchor wins a tie
        assert places[entity].tolist() == [*expected, *[-1] * (4 - used)]
        assert hops[entity].tolist() == [*truth[entity][expected], *[-1] * (4 - used)]


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_anchor_is_its_own_nearest_at_distance_zero(graph):
    chosen = choose_anchors(graph, 10)
    places, hops = nearest_anchors(graph, chosen, 3)
    assert torch.equal(places[chosen, 0], torch.arange(10)) and (hops[chosen, 0] == 0).all()
    assert ((hops == 0).sum(dim=1) <= 1).all()


@pytest.mark.parametrize("graph", GRAPHS)
def test_page_rank_is_that_of_networkx(graph):
    networkx = pytest.importorskip("networkx")
    undirected = networkx.MultiDiGraph()
    undirected.add_nodes_from(range(graph.num_entities))
    undirected.add_edges_from(graph.edges[:, [0, 2]].tolist())
    theirs = networkx.pagerank(undirected, alpha=0.85, tol=1e-12, max_iter=500)
    ours = page_rank(graph)
    np.testing.assert_allclose(ours, [theirs[i] for i in range(graph.num_entities)], atol=1e-7)
    assert float(ours.sum()) == pytest.approx(1)


def test_anchors_come_by_degree_then_page_rank_then_chance():
    graph = scattered()
    chosen = choose_anchors(graph, 20, (0.4, 0.4), seed=3)
    assert len(chosen.unique()) == 20
    by_degree = degrees(graph).sort(descending=True, stable=True).indices
    assert torch.equal(chosen[:8], by_degree[:8])
    rank = page_rank(graph)
    rest = torch.ones(60, dtype=torch.bool)
    rest[chosen[:16]] = False
    assert rank[chosen[8:16]].min() >= rank[rest].max()
    assert not torch.equal(chosen[16:], choose_anchors(graph, 20, (0.4, 0.4), seed=4)[16:])
    assert torch.equal(chosen, choose_anchors(graph, 20, (0.4, 0.4), seed=3))
    assert choose_anchors(graph, 60).sort().values.tolist() == list(range(60))
    with pytest.raises(ValueError, match="num_anchors must be at most the 60 entities, got 61"):
        choose_anchors(graph, 61)
    with pytest.raises(ValueError, match="shares must not be negative and at most 1 in sum"):
        choose_anchors(graph, 5, (0.6, 0.6))
    with pytest.raises(ValueError, match="neighbours must be at most the 20 anchors, got 21"):
        nearest_anchors(graph, chosen, 21)


def test_roles_are_incidence_sums():
    graph = scattered()
    expected = Counter()
    for head, relation, tail in graph.train.tolist():
        expected[head, relation] += 1
        expected[tail, relation + 3] += 1
    entities, roles, counts = role_counts(graph)
    found = list(zip(entities.tolist(), roles.tolist(), strict=True))
    assert dict(zip(found, counts.tolist(), strict=True)) == expected
    assert found == sorted(found)
    assert degrees(graph).tolist() == [sum(n for (e, _), n in expected.items() if e == i) for i in range(60)]


def test_rows_are_cut_and_padded():
    rows, used = padded_rows(torch.tensor([0, 0, 0, 2]), torch.tensor([5, 6, 7, 8]), 3, 2)
    assert rows.tolist() == [[5, 6], [0, 0], [8, 0]]
    assert used.tolist() == [[True, True], [False, False], [True, False]]


def test_a_self_loop_gives_both_roles():
    graph = graph_of([("a", "r", "a"), ("a", "r", "b")])
    entities, roles, counts = role_counts(graph)
    assert list(zip(entities.tolist(), roles.tolist(), counts.tolist(), strict=True)) == [
        (0, 0, 2),
        (0, 1, 1),
        (1, 1, 1),
    ]
