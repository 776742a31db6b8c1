"""Masks: exact counts, blocks that hide neighbours together, the same draw from the same seed."""

import pytest
import torch

from impl.objectives.masking import block_masks, random_masks


def together(masks):
    """Share of the hidden positions whose right-hand neighbour is hidden too, among those that have one."""
    inner = masks[:, :, :-1]
    return (inner & masks[:, :, 1:]).sum() / inner.sum()


@pytest.mark.parametrize("masked", [0, 1, 6, 40, 64])
def test_counts_are_exact(masked):
    masks = block_masks(50, (8, 8), masked, torch.Generator().manual_seed(0))
    assert masks.shape == (50, 8, 8) and masks.dtype == torch.bool
    assert (masks.sum(dim=(1, 2)) == masked).all()
    flat = random_masks(64, torch.full((50,), masked))
    assert (flat.sum(dim=1) == masked).all()


def test_blocks_hide_neighbours_together():
    generator = torch.Generator().manual_seed(0)
    blocks = block_masks(300, (14, 14), 78, generator)
    scattered = random_masks(196, torch.full((300,), 78), generator).unflatten(1, (14, 14))
    assert together(scattered) == pytest.approx(78 / 196, abs=0.02)
    assert together(blocks) > 0.75


def test_blocks_hide_corners_least_and_mirrored_positions_alike():
    often = block_masks(4000, (4, 4), 6, torch.Generator().manual_seed(0)).float().mean(dim=0)
    assert often[0, 0] < often[0, 1] < often[1, 1] and often.min() > 0.15
    torch.testing.assert_close(often, often.flip(0).flip(1), atol=0.05, rtol=0)


def test_each_row_may_have_its_own_count():
    counts = torch.tensor([0, 3, 9])
    assert torch.equal(random_masks(9, counts).sum(dim=1), counts)


def test_the_seed_decides():
    first, again = (block_masks(4, (4, 4), 6, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="masked must be from 0 to 16, got 17"):
        block_masks(1, (4, 4), 17)
