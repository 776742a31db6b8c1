"""Maps at several resolutions: where codes stand in a row, and back; features of each level."""

import pytest
import torch

from impl.tokenizers.image.pyramid import pyramid_encoders, pyramid_features, to_grids, to_rows


def test_a_row_holds_the_codes_under_one_top_token():
    torch.manual_seed(0)
    grids = [torch.randint(100, (2, 2 * 2**level, 3 * 2**level, 2)) for level in range(3)]
    rows = to_rows(grids)
    assert rows.shape == (2, 2, 3, 2 * 21)
    top, middle, bottom = grids
    # Top token (1, 2): the middle's rows 2, 3 and columns 4, 5, the bottom's rows 4 to 7 and columns 8 to 11.
    expected = [top[:, 1, 2], middle[:, 2:4, 4:6].flatten(1), bottom[:, 4:8, 8:12].flatten(1)]
    assert torch.equal(rows[:, 1, 2], torch.cat(expected, dim=1))
    for found, grid in zip(to_grids(rows, levels=3, layers=2), grids, strict=True):
        assert torch.equal(found, grid)


def test_codes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, height, width, 10\), got \(2, 2, 3, 9\)"):
        to_grids(torch.zeros(2, 2, 3, 9, dtype=torch.int64), levels=2, layers=2)
    with pytest.raises(ValueError, match="codes must have shape"):
        to_grids(torch.zeros(2, 10, dtype=torch.int64), levels=2, layers=2)


def test_each_level_has_half_the_resolution_of_the_next_and_sees_nothing_else():
    torch.manual_seed(0)
    encoders, images = pyramid_encoders(3, 8, levels=3, downsamplings=1), torch.rand(2, 3, 16, 24)
    features = pyramid_features(encoders, images, hop=8)
    assert [tuple(each.shape) for each in features] == [(2, 8, 2, 3), (2, 8, 4, 6), (2, 8, 8, 12)]
    assert torch.equal(features[0], encoders[0](features[1]))
    assert torch.equal(features[2], encoders[2](images))
    with pytest.raises(ValueError, match="divisible by 8, got 12 x 24"):
        pyramid_features(encoders, images[:, :, :12], hop=8)
