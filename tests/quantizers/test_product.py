"""Product codebooks: decoding by hand, nearest codewords by brute force over the whole product."""

import itertools

import pytest
import torch

from impl.quantizers.online_pq import OnlineProductQuantizer
from impl.quantizers.product import nearest_in_parts, take_codewords


def data(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_codewords_stand_side_by_side():
    codebooks, codes = data(3, 4, 2), torch.tensor([[0, 3, 1], [2, 2, 2]])
    expected = [torch.cat([codebooks[m, k] for m, k in enumerate(row)]) for row in codes.tolist()]
    assert torch.equal(take_codewords(codebooks, codes), torch.stack(expected))


def test_nearest_in_parts_is_nearest_in_the_product():
    codebooks, vectors = data(3, 4, 2), data(50, 6, seed=1)
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    nearest = torch.cdist(vectors, take_codewords(codebooks, every)).argmin(dim=1)
    assert torch.equal(nearest_in_parts(vectors.unflatten(1, (3, 2)), codebooks), every[nearest])


def test_tables_cover_the_parts():
    tables = OnlineProductQuantizer(6, 4, 3).codeword_tables()
    assert tables.starts == [0, 2, 4] and tables.disjoint and len(tables.codewords) == 3


def test_parts_must_divide_the_width():
    with pytest.raises(ValueError, match="num_codebooks must divide dim, got num_codebooks=4 and dim=6"):
        OnlineProductQuantizer(6, 8, 4)
