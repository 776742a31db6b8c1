"""Semantic ids: one item, one id, and the codes of the item inside it."""

import pytest
import torch

from impl.tokenizers.item.semantic_ids import collisions, semantic_ids


def test_equals_are_numbered_in_their_order():
    codes = torch.tensor([[1, 2], [0, 0], [1, 2], [1, 0], [1, 2], [0, 0]])
    ids = semantic_ids(codes, (2, 3))
    assert ids.codes.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 1], [1, 0, 0], [1, 2, 2], [0, 0, 1]]
    assert ids.sizes == (2, 3, 3)
    assert collisions(codes) == pytest.approx(5 / 6)


def test_item_and_id_are_one_to_one():
    codes = torch.randint(4, (500, 3), generator=torch.Generator().manual_seed(0))
    ids = semantic_ids(codes, (4, 4, 4))
    assert len(ids.codes.unique(dim=0)) == 500
    assert torch.equal(ids.codes[:, :3], codes)
    assert int(ids.codes[:, 3].max()) + 1 == ids.sizes[3]
    assert collisions(ids.codes) == 0


def test_shuffled_ids_are_the_same_ids_elsewhere():
    ids = semantic_ids(torch.randint(4, (100, 2), generator=torch.Generator().manual_seed(0)), (4, 4))
    other = ids.shuffled(seed=1)
    assert other.sizes == ids.sizes
    assert sorted(other.codes.tolist()) == sorted(ids.codes.tolist())
    assert (other.codes == ids.codes).all(dim=1).float().mean() < 0.1
    assert torch.equal(other.codes, ids.shuffled(seed=1).codes)


def test_bad_codes_are_refused():
    with pytest.raises(ValueError, match=r"codes must be \(N, 2\)"):
        semantic_ids(torch.zeros(3, 3, dtype=torch.int64), (2, 2))
    with pytest.raises(ValueError, match="from 0 to below"):
        semantic_ids(torch.tensor([[0, -1]]), (2, 2))
