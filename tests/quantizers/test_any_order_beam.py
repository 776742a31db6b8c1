"""The beam without order: brute force, the order of codebooks, duplicates, width."""

import itertools

import pytest
import torch

from impl.quantizers import any_order_beam as module
from impl.quantizers.additive import sum_codewords
from impl.quantizers.any_order_beam import any_order_beam


def codebooks(count=3, size=5, dim=4, seed=0):
    return torch.randn(count, size, dim, generator=torch.Generator().manual_seed(seed))


def data(rows=200, dim=4, seed=1):
    return 2 * torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def errors(vectors, tables, codes):
    return (vectors - sum_codewords(tables, codes)).square().sum(dim=1)


@pytest.mark.parametrize(("count", "size", "width"), [(2, 8, 64), (3, 4, 64), (4, 3, 400)])
def test_a_beam_that_holds_every_sum_finds_the_best(count, size, width):
    tables, vectors = codebooks(count, size), data()
    every = torch.tensor(list(itertools.product(range(size), repeat=count)))
    best = torch.cdist(vectors, sum_codewords(tables, every)).square().amin(dim=1)
    torch.testing.assert_close(errors(vectors, tables, any_order_beam(vectors, tables, width)), best)


def beam_by_hand(vector, tables, width):
    """The same search with a set of partial codes for each round; codebooks not used stand in with their means."""
    vector, tables = vector - tables.mean(dim=1).sum(dim=0), tables - tables.mean(dim=1, keepdim=True)
    beam = {frozenset()}
    for _ in range(len(tables)):
        longer = {
            partial | {(m, k)}
            for partial in beam
            for m in set(range(len(tables))) - {m for m, _ in partial}
            for k in range(tables.shape[1])
        }
        left = {
            partial: float((vector - sum(tables[m, k] for m, k in partial)).square().sum())
            for partial in longer
        }
        beam = sorted(longer, key=left.get)[:width]
    return [k for _, k in sorted(beam[0])]


@pytest.mark.parametrize("width", [1, 3, 10])
def test_it_is_the_search_over_sets(width):
    tables, vectors = codebooks(4, 5), data(30)
    expected = [beam_by_hand(vector, tables, width) for vector in vectors]
    assert any_order_beam(vectors, tables, width).tolist() == expected


def test_the_order_of_the_codebooks_does_not_matter():
    tables, vectors, order = codebooks(4, 5), data(), [2, 0, 3, 1]
    assert torch.equal(
        any_order_beam(vectors, tables[order], 4), any_order_beam(vectors, tables, 4)[:, order]
    )


def test_a_wider_beam_is_better_on_average():
    tables, vectors = codebooks(5, 8), data(500)
    means = [
        errors(vectors, tables, any_order_beam(vectors, tables, width)).mean() for width in (1, 2, 8, 32)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(means))


def test_blocks_change_nothing(monkeypatch):
    tables, vectors = codebooks(), data()
    whole = any_order_beam(vectors, tables, 4)
    monkeypatch.setattr(module, "BLOCK_SCORES", 100)
    assert torch.equal(any_order_beam(vectors, tables, 4), whole)


def test_far_from_the_origin():
    tables, vectors = codebooks(), data()
    moved = tables.clone()
    moved[1] += 1000
    assert (
        any_order_beam(vectors + 1000, moved, 4) == any_order_beam(vectors, tables, 4)
    ).float().mean() > 0.99


def test_a_beam_of_nothing_is_refused():
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        any_order_beam(data(), codebooks(), 0)
