import gzip
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

import survey
from impl.data.files import data_root
from impl.data.graphs import (
    RELEASED,
    KnowledgeGraph,
    catalog_graph,
    graph_of,
    read_triples,
    released_graph,
    split_triples,
    torus_graph,
)


def named(graph, triples):
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in triples.tolist()}


def test_names_are_numbered_in_alphabetical_order():
    graph = graph_of([("b", "s", "a"), ("a", "r", "c")], test=[("c", "r", "b")])
    assert graph.entities == ("a", "b", "c") and graph.relations == ("r", "s")
    assert graph.train.tolist() == [[1, 1, 0], [0, 0, 2]] and graph.test.tolist() == [[2, 0, 1]]
    assert graph.valid.shape == (0, 3) and graph.num_entities == 3 and graph.num_relations == 2
    assert graph.edges.tolist() == [[1, 1, 0], [0, 0, 2], [0, 3, 1], [2, 2, 0]]
    assert len(graph.triples) == 3


def test_a_graph_refuses_numbers_beyond_its_names():
    none = torch.zeros(0, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="train must number 2 entities and 1 relations from 0"):
        KnowledgeGraph(("a", "b"), ("r",), torch.tensor([[0, 0, 2]]), none, none)
    with pytest.raises(ValueError, match=r"valid must be int64 of shape \(T, 3\)"):
        KnowledgeGraph(("a", "b"), ("r",), none, none.float(), none)


def test_a_split_keeps_every_name_in_training_and_loses_no_triple():
    triples = [(f"e{i}", f"r{i % 3}", f"e{(i * i + 1) % 40}") for i in range(40)] * 2
    graph = split_triples(triples, share=0.2, seed=1)
    splits = [named(graph, part) for part in (graph.train, graph.valid, graph.test)]
    assert set.union(*splits) == set(triples) and sum(map(len, splits)) == len(set(triples))
    assert graph.train[:, [0, 2]].unique().tolist() == list(range(graph.num_entities))
    assert graph.train[:, 1].unique().tolist() == list(range(graph.num_relations))
    assert 0 < len(graph.test) <= 8
    assert torch.equal(graph.train, split_triples(reversed(triples), share=0.2, seed=1).train)
    with pytest.raises(ValueError, match=r"share must be at least 0 and below 0\.5, got 0\.5"):
        split_triples(triples, share=0.5)


def test_the_torus_is_made_of_translations_and_their_compositions():
    graph = torus_graph((6, 5))
    place = [tuple(map(int, name.split("-"))) for name in graph.entities]
    steps = {}
    for head, relation, tail in graph.triples.tolist():
        step = tuple((t - h) % side for h, t, side in zip(place[head], place[tail], (6, 5), strict=True))
        assert steps.setdefault(relation, step) == step  # one translation a relation
    assert len(graph.triples) == 30 * 8 and set(Counter(graph.triples[:, 1].tolist()).values()) == {30}
    add = lambda a, b: tuple((x + y) % side for x, y, side in zip(a, b, (6, 5), strict=True))  # noqa: E731
    assert all(steps[4 + i] == add(steps[i], steps[(i - 1) % 4]) for i in range(4))
    assert torch.equal(graph.train, torus_graph((6, 5)).train)
    assert not torch.equal(graph.train, torus_graph((6, 5), seed=1).train)


def work(**fields):
    empty = dict.fromkeys(
        ("sections", "techniques", "modalities", "tasks", "llm", "authors", "builds_on"), ()
    )
    return SimpleNamespace(**{**empty, "kind": "quantizer", "venue": None, **fields})


def test_a_catalog_becomes_a_graph_of_what_its_works_share():
    works = [
        work(id="a", techniques=("VQ",), authors=("Ann", "Bo"), venue="X", builds_on=("b",)),
        work(id="b", techniques=("VQ", "RVQ"), authors=("Ann",), venue="Y"),
    ]
    graph = catalog_graph(works)
    assert named(graph, graph.triples) == {
        ("work a", "uses", "uses VQ"),
        ("work b", "uses", "uses VQ"),
        ("work b", "uses", "uses RVQ"),
        ("work a", "written_by", "written_by Ann"),
        ("work b", "written_by", "written_by Ann"),
        ("work a", "of_kind", "of_kind quantizer"),
        ("work b", "of_kind", "of_kind quantizer"),
        ("work a", "builds_on", "work b"),
    }


def test_the_survey_itself_is_a_graph():
    works = survey.load().works
    graph = catalog_graph(works)
    assert {f"work {one.id}" for one in works} <= set(graph.entities)
    built = {(f"work {one.id}", "builds_on", f"work {other}") for one in works for other in one.builds_on}
    assert built and built <= named(graph, graph.triples)
    assert len(graph.test) == len(graph.valid) > 300


def test_triples_are_read_plain_and_compressed(tmp_path):
    text = "a b\tr\tc\r\n\nc\tr\ta b\n"
    (tmp_path / "train.txt").write_bytes(text.encode())
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("train.txt", "train.txt.gz"):
        assert read_triples(tmp_path / name) == [("a b", "r", "c"), ("c", "r", "a b")]


@pytest.mark.parametrize("line", ["a\tb", "a\tb\tc\td", "a\t\tc", "a b c"])
def test_a_line_that_is_no_triple_is_named(tmp_path, line):
    (tmp_path / "train.txt").write_text(f"a\tr\tb\n{line}\n")
    with pytest.raises(ValueError, match=r"train.txt:2 must be head, relation and tail"):
        read_triples(tmp_path / "train.txt")


def test_damaged_files_are_refused(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a\tr\tb\n" * 50)[:-9])
    (tmp_path / "b.txt").write_bytes(b"\xff\tr\tb\n")
    for name in ("a.txt.gz", "b.txt"):
        with pytest.raises(ValueError, match="is damaged"):
            read_triples(tmp_path / name)


def test_a_released_graph_is_found_by_its_folder(tmp_path):
    folder = tmp_path / "umls"
    folder.mkdir()
    for split, line in (("train", "a\tr\tb"), ("valid", "b\tr\ta"), ("test", "a\tr\ta")):
        (folder / f"{split}.txt").write_text(line)
    for root in (tmp_path, folder):
        graph = released_graph("umls", root)
        assert [len(part) for part in (graph.train, graph.valid, graph.test)] == [1, 1, 1]
    with pytest.raises(FileNotFoundError, match="none of the files"):
        released_graph("wn18rr", tmp_path / "umls" / "..")
    with pytest.raises(ValueError, match="name must be one of umls"):
        released_graph("umsl", tmp_path)


#: entities, relations, triples of the three splits, as the data sets' papers state them.
SIZES = {
    "umls": (135, 46, 5216, 652, 661),
    "kinships": (104, 25, 8544, 1068, 1074),
    "nations": (14, 55, 1592, 199, 201),
    "codex-s": (2034, 42, 32888, 1827, 1828),
    "codex-m": (17050, 51, 185584, 10310, 10311),
    "wn18rr": (40943, 11, 86835, 3034, 3134),
    "fb15k-237": (14541, 237, 272115, 17535, 20466),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_graphs_have_their_published_sizes(name):
    try:
        graph = released_graph(name, data_root())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    lengths = [len(part) for part in (graph.train, graph.valid, graph.test)]
    assert (graph.num_entities, graph.num_relations, *lengths) == SIZES[name]
