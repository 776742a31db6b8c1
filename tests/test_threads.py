"""Pieces of work on several threads: the results of a loop, in its order, and PyTorch's threads as they were."""

import pytest
import torch

from impl.threads import map_on_threads


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """So many threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_one_thread_each(threads):
    weight = torch.ones(4, requires_grad=True)
    found = map_on_threads(lambda piece: (piece, torch.get_num_threads(), (weight * piece).sum()), range(7))
    assert [piece for piece, _, _ in found] == list(range(7))
    assert {count for _, count, _ in found} == {1}
    assert [float(total) for *_, total in found] == [4.0 * piece for piece in range(7)]
    assert not any(total.requires_grad for *_, total in found)
    assert torch.get_num_threads() == threads


def test_fewer_pieces_than_threads_have_all_threads(threads):
    assert map_on_threads(lambda piece: torch.get_num_threads(), range(threads - 1)) == [threads] * (
        threads - 1
    )


def test_an_error_leaves_the_threads_as_they_were(threads):
    with pytest.raises(ZeroDivisionError):
        map_on_threads(lambda piece: 1 // piece, [1, 0, 2])
    assert torch.get_num_threads() == threads
