"""Pruned search: the answers of a full scan with fewer look-ups, ties, and what it refuses."""

import pytest
import torch

from impl.pruned_search import PrunedIndex
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vaq import VarianceAwareQuantizer


def data(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 8, generator=generator) * torch.tensor([6.0, 5, 4, 3, 2, 1, 0.5, 0.2]) + 3


def scan(quantizer, items, queries, k):
    decoded = quantizer.decode(quantizer.encode(items)).double()
    distances = (queries.double()[:, None] - decoded).square().sum(dim=2)
    return distances.sort(dim=1, stable=True).values[:, :k]


@pytest.mark.parametrize(("early", "triangle"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: VarianceAwareQuantizer(8, 4, 16),
        lambda: OptimizedProductQuantizer(8, 16, 4),
        lambda: ProductQuantizer(8, 16, 4),
    ],
    ids=["vaq", "opq", "pq"],
)
def test_the_answers_are_those_of_a_full_scan(make, early, triangle):
    items, queries = data(600), data(25, seed=1)
    quantizer = make().fit(items)
    index = PrunedIndex(quantizer, items, num_clusters=12)
    found = index.search(queries, 7, early, triangle)
    torch.testing.assert_close(
        found.distances.double(), scan(quantizer, items, queries, 7), rtol=1e-5, atol=1e-5
    )
    full = index.search(queries, 7, early_abandon=False, triangle_inequality=False)
    assert torch.equal(found.rows, full.rows)  # equal distances too: many items share a code
    assert full.lookups == 25 * 600 * 4
    assert (found.lookups < full.lookups) == (early or triangle)


def test_both_bounds_leave_out_more_than_each_alone():
    items, queries = data(3000), data(40, seed=1)
    index = PrunedIndex(VarianceAwareQuantizer(8, 4, 20).fit(items), items)
    both, early, triangle = (
        index.search(queries, 5, *flags).lookups for flags in ((True, True), (True, False), (False, True))
    )
    assert both < min(early, triangle)
    assert both < 0.25 * 40 * 3000 * 4


def test_a_share_of_the_clusters_costs_less_and_finds_most():
    items, queries = data(2000), data(40, seed=1)
    index = PrunedIndex(ProductQuantizer(8, 16, 4).fit(items), items)
    everything = index.search(queries, 10)
    part = index.search(queries, 10, visit=0.1)
    assert part.lookups < everything.lookups
    shared = (part.rows[:, :, None] == everything.rows[:, None]).any(dim=2).float().mean()
    assert 0.5 < shared <= 1


def test_an_item_as_query_is_found_first():
    items = data(300)
    quantizer = VarianceAwareQuantizer(8, 4, 16).fit(items)
    decoded = quantizer.decode(quantizer.encode(items))
    found = PrunedIndex(quantizer, items, num_clusters=10).search(decoded[:20], 1)
    assert found.distances.max() < 1e-9
    first = [int((decoded == one).all(dim=1).nonzero()[0]) for one in decoded[:20]]
    assert found.rows[:, 0].tolist() == first


def test_all_items_are_found_if_asked_for_even_with_one_cluster_to_visit():
    items = data(50)
    index = PrunedIndex(ProductQuantizer(8, 4, 2).fit(items), items, num_clusters=6)
    found = index.search(data(3, seed=1), 50, visit=0.01)
    assert torch.equal(found.rows.sort(dim=1).values, torch.arange(50).expand(3, -1))
    assert index.search(data(0), 4).rows.shape == (0, 4)


def test_what_cannot_be_searched_is_refused():
    items = data(60)
    with pytest.raises(ValueError, match="do not overlap"):
        PrunedIndex(ResidualVQ(8, 4, 2).fit(items), items)
    index = PrunedIndex(ProductQuantizer(8, 4, 2).fit(items), items)
    with pytest.raises(ValueError, match="k must be at most"):
        index.search(items, 61)
    with pytest.raises(ValueError, match="visit must be"):
        index.search(items, 5, visit=0.0)
