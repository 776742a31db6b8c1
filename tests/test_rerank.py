"""Re-ranking: a whole shortlist in the true order of the decoded items."""

import pytest
import torch

from impl.rerank import rerank
from impl.search import exact_neighbours


def test_a_full_shortlist_gives_the_exact_neighbours():
    generator = torch.Generator().manual_seed(0)
    items, queries = torch.randn(50, 4, generator=generator), torch.randn(130, 4, generator=generator)
    shortlist = torch.stack([torch.randperm(50, generator=generator) for _ in queries])
    distances, rows = rerank(
        queries, shortlist, torch.arange(50)[:, None], lambda codes: items[codes[:, 0]], 5
    )
    assert torch.equal(rows, exact_neighbours(queries, items, 5))
    torch.testing.assert_close(distances, (queries[:, None] - items[rows]).square().sum(dim=2))


def test_bad_numbers_and_no_queries():
    items = torch.zeros(3, 2)
    arguments = (torch.zeros(3, 1, dtype=torch.int64), lambda codes: items[codes[:, 0]])
    with pytest.raises(ValueError, match="at most the shortlist's 2"):
        rerank(torch.zeros(1, 2), torch.tensor([[0, 1]]), *arguments, 3)
    assert rerank(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.int64), *arguments, 1)[1].shape == (0, 1)
