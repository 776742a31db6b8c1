"""Codeword tables: which overlap, and that their chosen rows add up to the decoded vector."""

import pytest
import torch

from impl.quantizers.additive import AdditiveCodebooks
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.tables import CodewordTables
from impl.quantizers.vq_vae import VectorQuantizer


@pytest.mark.parametrize(
    "widths, starts, disjoint",
    [
        ([4], [0], True),
        ([2, 2], [0, 2], True),
        ([2, 2], [2, 0], True),
        ([2, 2], [0, 1], False),
        ([4, 4], [0, 0], False),
    ],
)
def test_disjoint_tables_share_no_dimension(widths, starts, disjoint):
    assert CodewordTables([torch.zeros(3, width) for width in widths], starts).disjoint is disjoint


@pytest.mark.parametrize(
    "quantizer",
    [
        VectorQuantizer(6, 5),
        ProductQuantizer(6, 5, 3),
        ResidualVQ(6, 5, 3),
        ResidualVQ(6, 5, 3, shared=True),
        AdditiveCodebooks(6, 5, 3),
    ],
    ids=["vq", "product", "residual", "shared residual", "additive"],
)
def test_chosen_rows_add_up_to_the_decoded_vector(quantizer):
    tables = quantizer.codeword_tables()
    sizes = torch.tensor(quantizer.codebook_sizes)
    codes = (torch.rand(20, len(sizes), generator=torch.Generator().manual_seed(0)) * sizes).long()
    total = torch.zeros(20, 6)
    for codewords, start, column in zip(tables.codewords, tables.starts, codes.unbind(1), strict=True):
        total[:, start : start + codewords.shape[1]] += codewords[column]
    torch.testing.assert_close(total, quantizer.decode(codes))
