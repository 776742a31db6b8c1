"""The recall command: the survey's order on SIFT, and a clear end where the files are not."""

import pytest
import torch

from impl.data.images import patch_vectors
from impl.data.vectors import SearchSet, sift
from impl.recall import METHODS, main, recalled
from impl.search import exact_neighbours


def small():
    base, queries = patch_vectors("train")[:800], patch_vectors("test")[:50]
    return SearchSet(base, queries, exact_neighbours(queries, base, 1), base)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_more_with_depth(name):
    row = recalled(name, small(), 8, 4, iterations=2)
    assert list(row.recalls) == sorted(row.recalls)
    assert 0 < row.error < 1


def test_recall_by_hand():
    vectors = small()
    row = recalled("PQ", vectors, 8, 4, iterations=5)
    quantizer = METHODS["PQ"](64, 8, 4).fit(vectors.learn, 5)
    decoded = quantizer.decode(quantizer.encode(vectors.base)).detach()
    ranks = exact_neighbours(vectors.queries, decoded, 100)
    hits = (ranks[:, :10] == vectors.neighbours[:, :1]).any(dim=1).double().mean()
    assert row.recalls[1] == pytest.approx(float(hits), abs=0.02)


def test_missing_files_and_unknown_methods(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "sift_base.fvecs" in capsys.readouterr().err
    with pytest.raises(ValueError, match="one of PQ"):
        recalled("LSH", small())


@pytest.mark.long
@pytest.mark.claim
def test_the_surveys_order_on_sift_descriptors():
    """32 bits on 5,000 descriptors: recall@10 and @100 of PQ < RVQ < CQ < AQ, as in the survey's table at 64 bits."""
    try:
        vectors = sift("sift5k")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    rows = [recalled(name, vectors, 16, 8, iterations=10) for name in ("PQ", "RVQ", "CQ", "AQ")]
    for depth in (1, 2):
        found = [row.recalls[depth] for row in rows]
        assert found == sorted(found), rows
    assert torch.tensor([row.error for row in rows]).diff().lt(0).all()
