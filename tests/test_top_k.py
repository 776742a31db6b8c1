"""The running k smallest against a full sort, with many ties, whatever the blocks."""

import pytest
import torch

from impl.top_k import GROUP, Nearest


def by_sorting(distances, k):
    """The k smallest of each column, equal ones in the order of rows: the rule written again."""
    rows = distances.T.argsort(dim=1, stable=True)[:, :k]
    return distances.T.gather(1, rows), rows


@pytest.mark.parametrize("order", ["random", "falling", "rising", "equal"])
@pytest.mark.parametrize("block", [1, GROUP, 3 * GROUP, 100])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_blocks_give_what_a_sort_gives(order, block, k):
    draw = torch.Generator().manual_seed(0)
    distances = torch.randint(0, 60, (400, 3), generator=draw).float()
    if order == "equal":
        distances.zero_()
    elif order != "random":
        distances = distances.sort(dim=0, descending=order == "falling").values
    best = Nearest.none(distances.T)
    for first in range(0, 400, block):
        best = best.with_items(distances[first : first + block].contiguous(), first, k)
    values, rows = by_sorting(distances, k)
    assert torch.equal(best.distances, values)
    assert torch.equal(best.rows, rows)


def test_a_block_that_holds_nothing_nearer_changes_nothing():
    best = Nearest.none(torch.zeros(2, 1)).with_items(torch.zeros(GROUP, 2), 0, 4)
    assert best.with_items(torch.ones(GROUP, 2), GROUP, 4) is best
    assert best.with_items(torch.zeros(GROUP, 2), GROUP, 4) is best  # equal distances: the lower rows stay


def test_fewer_items_than_k_are_all_kept():
    best = Nearest.none(torch.zeros(1, 1)).with_items(torch.tensor([[2.0], [1.0]]), 0, 5)
    assert best.rows.tolist() == [[1, 0]]
    assert best.merged(torch.tensor([[1.0]]), torch.tensor([[2]]), 5).rows.tolist() == [[1, 2, 0]]
