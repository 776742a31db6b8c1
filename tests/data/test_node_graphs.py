import numpy as np
import pytest
import torch

from impl.data.files import data_root
from impl.data.node_graphs import NodeGraph, block_graph, karate_club, released_nodes


def test_a_block_graph_follows_its_arguments():
    graph = block_graph(blocks=4, size=200, classes=2, within=0.1, between=0.02, features=5, labelled=3)
    assert graph.features.shape == (800, 5) and graph.num_classes == 2
    block = torch.arange(4).repeat_interleave(200)
    assert torch.equal(graph.labels, block % 2)
    inside = (block[graph.edges[:, 0]] == block[graph.edges[:, 1]]).sum().item()
    expected, pairs = 4 * 0.1 * 199 * 100, 6 * 200 * 200
    assert abs(inside - expected) < 4 * expected**0.5
    assert abs(len(graph.edges) - inside - 0.02 * pairs) < 4 * (0.02 * pairs) ** 0.5
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert torch.bincount(graph.labels[graph.train]).tolist() == [3, 3]
    assert sorted(torch.cat([graph.train, graph.valid, graph.test]).tolist()) == list(range(800))


def test_block_graphs_follow_the_seed():
    first, second, other = (block_graph(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.features, second.features) and torch.equal(first.edges, second.edges)
    assert not torch.equal(first.features, other.features)


def test_the_karate_club():
    graph = karate_club()
    assert graph.num_nodes == 34 and len(graph.edges) == 78 and graph.labels.sum() == 17
    assert graph.labels[graph.train].tolist() == [0, 1] and len(graph.test) == 32


def test_renumbering_keeps_the_graph():
    graph = karate_club()
    order = torch.randperm(34, generator=torch.Generator().manual_seed(0))
    moved = graph.renumbered(order)
    back = {frozenset(order[edge].tolist()) for edge in moved.edges}
    assert back == {frozenset(edge.tolist()) for edge in graph.edges}
    assert torch.equal(moved.labels, graph.labels[order])
    assert order[moved.train].tolist() == graph.train.tolist()


def test_a_graph_refuses_what_does_not_fit():
    features, none = torch.zeros(3, 2), torch.zeros(0, dtype=torch.int64)
    edges, labels = torch.tensor([[0, 1]]), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="edges must join nodes 0 to 2"):
        NodeGraph(features, edges + 2, labels, none, none, none)
    with pytest.raises(ValueError, match=r"edges must be int64 of shape \(E, 2\)"):
        NodeGraph(features, edges.float(), labels, none, none, none)
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\)"):
        NodeGraph(features, edges, labels[:2], none, none, none)


def write(path, **changes):
    arrays = {
        "x_data": np.ones(3, np.float32),
        "x_indices": np.array([1, 0, 1]),
        "x_indptr": np.array([0, 1, 3]),
        "x_shape": np.array([2, 2]),
        "y": np.array([1, 0]),
        "edges": np.array([[0], [1]]),
        "train_idx": np.array([0]),
        "val_idx": np.array([], np.int64),
        "test_idx": np.array([1]),
    }
    np.savez(path, **{**arrays, **changes})


def test_the_released_format_is_read(tmp_path):
    write(tmp_path / "cora.npz")
    graph = released_nodes("cora", tmp_path)
    assert graph.features.tolist() == [[0, 1], [0.5, 0.5]] and graph.edges.tolist() == [[0, 1]]
    assert graph.labels.tolist() == [1, 0] and graph.test.tolist() == [1]


def test_damaged_files_and_unknown_names_are_refused(tmp_path):
    write(tmp_path / "cora.npz", x_indices=np.array([1, 0, 7]))
    (tmp_path / "citeseer.npz").write_bytes(b"PK\x03\x04 cut")
    for name in ("cora", "citeseer"):
        with pytest.raises(ValueError, match="is damaged"):
            released_nodes(name, tmp_path)
    with pytest.raises(ValueError, match="name must be one of cora, citeseer"):
        released_nodes("pubmed", tmp_path)
    with pytest.raises(FileNotFoundError):
        released_nodes("cora", tmp_path / "..")


@pytest.mark.parametrize(
    ("name", "sizes"), [("cora", (2708, 1433, 5278, 7)), ("citeseer", (3327, 3703, 4552, 6))]
)
def test_released_citation_graphs(name, sizes):
    try:
        data_root()
        graph = released_nodes(name)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    assert (*graph.features.shape, len(graph.edges), graph.num_classes) == sizes
    assert len(graph.train) == 20 * graph.num_classes and len(graph.test) == 1000
