"""Bouncing digits: where they are in each frame, and released frames cut into clips."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from impl.data.images import digits
from impl.data.video import bounced, clips, moving_digits, released_video

RELEASED = Path(os.environ.get("CODEBOOK_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def test_a_digit_keeps_its_shape_and_moves_by_its_velocity():
    moving, ink = moving_digits("test", 9), digits("test")
    assert moving.videos.shape == (397, 1, 9, 16, 16)
    for row in range(0, 397, 40):
        places = []
        for frame in moving.videos[row, 0]:
            windows = frame.unfold(0, 8, 1).unfold(1, 8, 1)
            found = (windows == ink[row, 0]).all(dim=-1).all(dim=-1).nonzero()
            assert len(found) == 1
            places.append(found[0])
        steps = torch.stack(places).diff(dim=0)
        assert (steps.abs() <= moving.velocities[row].abs()).all()
        assert (steps.abs().amax(dim=0) == moving.velocities[row].abs()).all()


def test_points_turn_round_at_the_walls():
    assert bounced(np.array([6]), np.array([2]), 6, 8)[:, 0].tolist() == [6, 8, 6, 4, 2, 0]
    assert bounced(np.array([1]), np.array([-2]), 4, 8)[:, 0].tolist() == [1, 1, 3, 5]


def test_longer_videos_start_as_shorter_ones():
    assert torch.equal(moving_digits("test", 9).videos[:, :, :5], moving_digits("test", 5).videos)
    with pytest.raises(ValueError, match="frames"):
        moving_digits("test", 0)


def test_clips_tile_the_shot():
    shot = np.random.default_rng(0).integers(0, 256, (7, 20, 33, 3), dtype=np.uint8)
    cut = clips(shot, 3, 8)
    assert cut.shape == (2 * 2 * 4, 3, 3, 8, 8)
    expected = torch.from_numpy(shot[3:6, 8:16, 16:24]).permute(3, 0, 1, 2).float() / 127.5 - 1
    assert torch.equal(cut[8 + 4 + 2], expected)
    with pytest.raises(ValueError, match="8 x 8 x 8 must fit into the shot"):
        clips(shot, 8, 8)


def test_released_frames(tmp_path):
    with pytest.raises(FileNotFoundError, match="video-bbb"):
        released_video(root=tmp_path)
    (tmp_path / "bbb_132x64x64_rgb.npz").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match="no whole file of frames"):
        released_video(root=tmp_path)
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    np.savez_compressed(tmp_path / "bbb_132x64x64_rgb.npz", frames=frames)
    train, test = (released_video(split, 2, 16, tmp_path) for split in ("train", "test"))
    assert train.shape == (4, 3, 2, 16, 16) and test.shape == (1, 3, 2, 16, 16)
    assert train[3, 0, 1, 0, 0] == pytest.approx(7 / 127.5 - 1) and test.min() == pytest.approx(8 / 127.5 - 1)
    with pytest.raises(ValueError, match="split"):
        released_video("dev", root=tmp_path)


@pytest.mark.skipif(not (RELEASED / "video-bbb").is_dir(), reason="the released frames are not on this disk")
def test_the_shot_of_132_frames():
    train, test = (released_video(split, 5, 32, RELEASED) for split in ("train", "test"))
    assert train.shape == (21 * 4, 3, 5, 32, 32) and test.shape == (5 * 4, 3, 5, 32, 32)
    # Neighbouring frames of one shot are alike, and no two are the same throughout.
    change = train.diff(dim=2).abs().mean()
    assert 0 < change < 0.1
