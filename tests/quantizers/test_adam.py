"""The loop of gradient fits: it minimises, repeats, shows every row and leaves no gradient behind."""

import torch
from torch import nn

from impl.quantizers.adam import adam


def run(seed=0, steps=300):
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    parameter, shown = nn.Parameter(torch.zeros(3)), torch.zeros(50)

    def loss(batch):
        shown[batch] += 1
        return (rows[batch] - parameter).square().mean()

    adam([parameter], loss, 50, steps, batch_size=10, learning_rate=0.05, seed=seed)
    return parameter, rows.mean(dim=0), shown


def test_it_minimises_and_shows_every_row_alike():
    parameter, mean, shown = run()
    torch.testing.assert_close(parameter.detach(), mean, atol=0.1, rtol=0)
    assert (shown == 60).all() and parameter.grad is None


def test_it_is_a_function_of_the_seed():
    assert torch.equal(run(steps=20)[0], run(steps=20)[0]) and not torch.equal(
        run(steps=20)[0], run(1, steps=20)[0]
    )


def test_batches_are_no_larger_than_the_data():
    sizes = []
    parameter = nn.Parameter(torch.zeros(()))
    adam([parameter], lambda rows: sizes.append(len(rows)) or parameter.square(), 5, 3)
    assert sizes == [5, 5, 5]
