"""Chains of quantizers: what the stages decode to adds up, and tables of rotated stages search alike."""

import torch

from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.residual import ResidualOfQuantizers
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vq_vae import VectorQuantizer
from impl.search import LookupIndex, exact_neighbours


def data(rows=500, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_stages_of_one_table_are_residual_vq():
    chain = ResidualOfQuantizers([VectorQuantizer(6, 8), VectorQuantizer(6, 8)]).fit(data())
    plain = ResidualVQ(6, 8, 2).fit(data())
    assert torch.equal(chain.encode(data(seed=1)), plain.encode(data(seed=1)))


def test_search_with_rotated_stages():
    chain = ResidualOfQuantizers([OptimizedProductQuantizer(6, 8, 2), VectorQuantizer(6, 8)]).fit(data())
    items, queries = data(300, seed=1), data(20, seed=2)
    distances, _ = LookupIndex(chain, items).search(queries, 3)
    decoded = chain.decode(chain.encode(items)).detach()
    # Items of equal codes are equally near: distances are compared, not rows.
    nearest = decoded[exact_neighbours(queries, decoded, 3)]
    expected = (queries[:, None] - nearest).square().sum(dim=-1)
    torch.testing.assert_close(distances, expected, rtol=1e-4, atol=1e-4)
