"""One process: collectives return their input. (Two processes: the laws of `impl.checks_parallel`.)"""

import torch

from impl.quantizers.collectives import agreed, averaged, gathered, summed, totalled, world_size


def test_alone_everything_is_the_input():
    vectors, counts = torch.randn(3, 2), torch.ones(4)
    assert world_size() == 1
    assert all(torch.equal(a, b) for a, b in zip(summed(vectors, counts), (vectors, counts), strict=True))
    for function in (averaged, gathered, agreed):
        assert torch.equal(function(vectors), vectors)


def test_alone_a_total_is_the_input_with_its_gradient():
    vectors = torch.randn(3, 2, requires_grad=True)
    assert totalled(vectors) is vectors
