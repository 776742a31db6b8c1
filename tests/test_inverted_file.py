"""An inverted file against the brute-force order of the decoded items and against faiss."""

import numpy as np
import pytest
import torch

from impl.benches import mixture
from impl.checks import check_quantizer
from impl.inverted_file import InvertedFile
from impl.quantizers.coarse_product import CoarseProductQuantizer
from impl.quantizers.lopq import LocallyOptimizedPQ
from impl.quantizers.trq import TransformedRVQ
from impl.search import exact_neighbours, recall_at

MAKERS = {
    "ivfadc": lambda: CoarseProductQuantizer(8, 6, 8, 4),
    "lopq": lambda: LocallyOptimizedPQ(8, 6, 8, 4),
    "lopq, shared": lambda: LocallyOptimizedPQ(8, 6, 8, 4, shared=True),
    "trq": lambda: TransformedRVQ(8, 6, 16),
}


def data(rows, dim=8, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def fitted(name, rows=400):
    items = data(rows)
    return MAKERS[name]().fit(items, iterations=5), items


def test_the_code_of_an_inverted_file_keeps_the_laws():
    check_quantizer(CoarseProductQuantizer)


@pytest.mark.parametrize("name", MAKERS)
def test_all_cells_give_the_order_of_the_decoded_items(name):
    quantizer, items = fitted(name)
    queries = data(30, seed=1)
    distances, rows = InvertedFile(quantizer, items).search(queries, 400, probes=6)
    decoded = quantizer.decode(quantizer.encode(items)).detach()
    truth = (queries.double()[:, None] - decoded.double()).square().sum(dim=2)
    torch.testing.assert_close(distances.double(), truth.gather(1, rows), rtol=1e-4, atol=1e-4)
    assert torch.equal(rows.sort(dim=1).values, torch.arange(400).expand(30, -1))
    assert (distances.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("name", MAKERS)
def test_a_query_sees_the_items_of_its_nearest_cells_only(name):
    quantizer, items = fitted(name)
    queries = data(30, seed=1)
    cells = quantizer.encode(items)[:, 0]
    for probes in (1, 3):
        near = torch.cdist(queries.double(), quantizer.centres.double()).topk(probes, largest=False).indices
        distances, rows = InvertedFile(quantizer, items).search(queries, 400, probes)
        for row, distance, chosen in zip(rows, distances, near, strict=True):
            inside = torch.isin(cells, chosen).nonzero()[:, 0]
            assert row[row >= 0].sort().values.tolist() == inside.tolist()
            assert torch.equal(distance.isinf(), row < 0)


def test_ties_go_to_the_lowest_row_across_lists():
    items = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])
    quantizer = CoarseProductQuantizer(2, 2, 1, 1).fit(items)
    distances, rows = InvertedFile(quantizer, items).search(torch.zeros(1, 2), 4, probes=2)
    assert rows.tolist() == [[0, 1, 2, 3]]
    assert distances.tolist() == [[4.0] * 4]


def test_codebooks_that_cells_share_are_kept_once():
    shared, own = (InvertedFile(*fitted(name)) for name in ("lopq, shared", "lopq"))
    assert len(set(map(id, shared.sums))) == 1
    assert len(set(map(id, own.sums))) == 6


def test_an_empty_list_is_passed_over():
    quantizer, items = fitted("ivfadc")
    only = items[quantizer.encode(items)[:, 0] != 2]
    distances, rows = InvertedFile(quantizer, only).search(data(5, seed=1), len(only), probes=6)
    assert (rows >= 0).all() and distances.isfinite().all()


def test_faiss_finds_the_same_neighbours_with_the_same_codebooks():
    faiss = pytest.importorskip("faiss")
    items, queries = mixture("train"), mixture("test")[:100]
    quantizer = CoarseProductQuantizer(32, 16, 16, 4).fit(items, iterations=5)
    coarse = faiss.IndexFlatL2(32)
    coarse.add(quantizer.centres.detach().numpy())
    theirs = faiss.IndexIVFPQ(coarse, 32, 16, 4, 4)
    theirs.train(items.numpy())
    tables = torch.stack(quantizer.product.codeword_tables().codewords).numpy()
    faiss.copy_array_to_vector(np.ascontiguousarray(tables).ravel(), theirs.pq.centroids)
    theirs.precompute_table()
    theirs.add(items.numpy())
    theirs.nprobe = 4
    expected, expected_rows = theirs.search(queries.numpy(), 20)
    distances, rows = InvertedFile(quantizer, items).search(queries, 20, probes=4)
    torch.testing.assert_close(distances, torch.from_numpy(expected), rtol=1e-3, atol=1e-3)
    # Items with one code are at one distance, and faiss does not order them by row.
    clear = distances < distances[:, -1:] * (1 - 1e-4)
    for ours, other, kept in zip(rows, torch.from_numpy(expected_rows), clear, strict=True):
        assert set(ours[kept].tolist()) <= set(other.tolist())


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_a_few_lists_find_nearly_what_all_find(seed):
    """jegou2011product: most neighbours lie in the nearest cells, so 4 of 16 lists cost a quarter and lose little."""
    items, queries = mixture("train"), mixture("test")
    nearest = exact_neighbours(queries, items, 1)[:, 0]
    index = InvertedFile(CoarseProductQuantizer(32, 16, 16, 4).fit(items, iterations=10, seed=seed), items)
    few, every = (recall_at(index.search(queries, 10, probes)[1], nearest, 10) for probes in (4, 16))
    assert every - 0.02 < few <= every + 0.02


def test_bad_arguments_are_named():
    index = InvertedFile(*fitted("ivfadc"))
    with pytest.raises(ValueError, match="probes must be at most the number of cells, 6, got 7"):
        index.search(data(2), 1, 7)
    with pytest.raises(ValueError, match="k must be at most the number of items, 400, got 401"):
        index.search(data(2), 401, 1)
    with pytest.raises(ValueError, match="queries must be finite vectors"):
        index.search(torch.full((2, 8), torch.nan), 1, 1)
