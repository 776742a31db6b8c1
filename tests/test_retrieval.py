"""Mean average precision: by hand, against scikit-learn with ties, and through a quantizer's tables."""

import numpy as np
import pytest
import torch

from impl.quantizers.pq import ProductQuantizer
from impl.retrieval import label_precision, mean_average_precision, ndcg_at, recall_at


def test_by_hand():
    """Relevant at ranks 1 and 3: (1 + 2/3) / 2; at rank 2 of 2: 1/2."""
    distances = torch.tensor([[0.1, 0.2, 0.3, 0.4], [2.0, 1.0, 3.0, 4.0]])
    relevant = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert mean_average_precision(distances, relevant) == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_a_perfect_ranking_is_one_and_one_rank_for_all_is_the_share_of_the_relevant():
    relevant = torch.tensor([[False, True, True, False, True]])
    assert mean_average_precision(-relevant.double(), relevant) == 1
    assert mean_average_precision(torch.zeros(1, 5), relevant) == pytest.approx(3 / 5)


def test_agrees_with_scikit_learn_also_on_ties():
    average_precision_score = pytest.importorskip("sklearn.metrics").average_precision_score
    generator = torch.Generator().manual_seed(0)
    distances = torch.randint(5, (20, 40), generator=generator).double()
    relevant = torch.rand(20, 40, generator=generator) < 0.3
    expected = [
        average_precision_score(r, -d) for r, d in zip(relevant.numpy(), distances.numpy(), strict=True)
    ]
    assert mean_average_precision(distances, relevant) == pytest.approx(np.mean(expected))


def test_queries_without_a_relevant_item_do_not_count():
    distances, relevant = (
        torch.tensor([[1.0, 2.0], [1.0, 2.0]]),
        torch.tensor([[False, True], [False, False]]),
    )
    assert mean_average_precision(distances, relevant) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least one item of one query, got none"):
        mean_average_precision(distances, torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="must both be"):
        mean_average_precision(distances, relevant[:1])


def test_tables_rank_as_decoded_vectors_do():
    items, queries = torch.randn(2, 60, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    quantizer = ProductQuantizer(4, 64, 2).fit(items)  # enough codewords for each item to be decoded exactly
    expected = mean_average_precision(torch.cdist(queries, items), labels[None] == labels[:, None])
    assert label_precision(quantizer, items, labels, queries, labels) == pytest.approx(expected)


def test_one_relevant_item_by_hand():
    """Found first, third and not at all."""
    found, target = torch.tensor([[5, 1, 2], [4, 3, 0], [1, 2, 3]]), torch.tensor([5, 0, 9])
    assert [recall_at(found, target, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert [ndcg_at(found, target, k) for k in (1, 3)] == pytest.approx([1 / 3, (1 + 1 / 2) / 3])


def test_one_relevant_item_agrees_with_torchmetrics():
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    generator = torch.Generator().manual_seed(0)
    scores, target = torch.rand(30, 12, generator=generator), torch.randint(12, (30,), generator=generator)
    found = scores.argsort(dim=1, descending=True)
    relevant = torch.nn.functional.one_hot(target, 12)
    for k in (1, 5, 12):
        pairs = list(zip(scores, relevant, strict=True))
        gains = [retrieval.retrieval_normalized_dcg(s, r, top_k=k) for s, r in pairs]
        shares = [retrieval.retrieval_recall(s, r, top_k=k) for s, r in pairs]
        assert ndcg_at(found, target, k) == pytest.approx(float(torch.stack(gains).mean()), abs=1e-6)
        assert recall_at(found, target, k) == pytest.approx(float(torch.stack(shares).mean()), abs=1e-6)
    with pytest.raises(ValueError, match="k must be from 1 to the 12 found, got 13"):
        recall_at(found, target, 13)
    with pytest.raises(ValueError, match="Q at least 1"):
        ndcg_at(found[:0], target[:0], 1)
