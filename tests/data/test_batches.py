import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.data.batches import batch_indices, draw_rows, take


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 2**32))
def test_every_sample_comes_once_before_any_comes_again(samples, batch_size, seed):
    steps = 2 * samples // batch_size + 2
    order = torch.cat([batch_indices(step, samples, batch_size, seed) for step in range(steps)])
    for start in range(0, len(order) - samples + 1, samples):
        assert order[start : start + samples].sort().values.tolist() == list(range(samples))


def test_the_order_is_a_function_of_seed_and_step():
    first = batch_indices(7, 100, 16, seed=3)
    batch_indices(0, 50, 16, seed=9)
    assert torch.equal(batch_indices(7, 100, 16, seed=3), first)
    assert not torch.equal(batch_indices(7, 100, 16, seed=4), first)
    assert not torch.equal(batch_indices(8, 100, 16, seed=3), first)


def test_epochs_have_different_orders():
    assert not torch.equal(batch_indices(0, 64, 64, 0), batch_indices(1, 64, 64, 0))


def test_rows_of_a_tensor_and_stacked_items_are_the_same_batch():
    data = torch.arange(12.0).reshape(6, 2)
    indices = torch.tensor([4, 0, 4])
    assert torch.equal(take(data, indices), data[indices])
    assert torch.equal(take(list(data), indices), data[indices])
    pairs = take([(row, i) for i, row in enumerate(data)], indices)
    assert torch.equal(pairs[0], data[indices])
    assert pairs[1].tolist() == [4, 0, 4]


def test_draw_rows_takes_the_first_batch():
    data = torch.arange(30)
    assert torch.equal(draw_rows(data, 7, seed=2), batch_indices(0, 30, 7, seed=2))
