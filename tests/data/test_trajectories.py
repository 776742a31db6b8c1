from itertools import pairwise

import numpy as np
import pytest
import torch

from impl.data.files import data_root
from impl.data.trajectories import (
    Trajectories,
    pen_step,
    pen_trajectories,
    planted_strokes,
    released_pendulum,
    simulated,
    stroke_headings,
)


def test_strokes_are_planted_whole():
    strokes = planted_strokes(seed=1)
    assert len(set(strokes)) == 5 and all(4 <= len(stroke) <= 9 for stroke in strokes)
    headings, starts = stroke_headings(strokes, 7, 50, seed=1)
    assert headings.shape == starts.shape == (7, 50) and starts[:, 0].all()
    for row, first in zip(headings.tolist(), starts, strict=True):
        places = first.nonzero()[:, 0].tolist()
        assert all(tuple(row[a:b]) in strokes for a, b in pairwise(places))
    again, _ = stroke_headings(strokes, 7, 50, seed=1)
    assert torch.equal(headings, again)


def test_the_pen_follows_its_actions():
    headings = torch.tensor([[0, 0, 3, 1]])
    drawn = pen_trajectories(headings, jitter=0.0)
    expected = torch.tensor([[1, 0], [1, 0], [-1, 0], [0.5, 3**0.5 / 2]])
    torch.testing.assert_close(drawn.actions[0], expected, atol=1e-6, rtol=0)
    moved = drawn.observations[0, 1:] - drawn.observations[0, :-1]
    assert (moved - 0.25 * expected[:3]).abs().max() < 0.1
    far = pen_step(torch.zeros(1, 2), torch.tensor([[30.0, 40.0]]), torch.Generator(), noise=0.0)
    torch.testing.assert_close(far, 0.25 * 1.5 * torch.tensor([[0.6, 0.8]]))


def test_the_pendulum_is_swung_up_and_follows_the_seed():
    first, again, other = (simulated(episodes=3, seed=seed) for seed in (0, 0, 5))
    assert first.observations.shape == (3, 200, 3) and first.actions.shape == (3, 200, 1)
    assert torch.equal(first.observations, again.observations)
    assert not torch.equal(first.observations, other.observations)
    assert (first.observations[:, -30:, 0] > 0.9).all() and first.actions.abs().max() <= 2


def test_an_environment_that_ends_early_is_an_error():
    with pytest.raises(ValueError, match="MountainCarContinuous-v0 ended, got 999"):
        simulated("MountainCarContinuous-v0", lambda seen: np.sign(seen[1:]) + 0.1, 1, 999, noise=0.0)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(N, T, O\) and \(N, T, A\)"):
        Trajectories(torch.zeros(2, 3, 1), torch.zeros(2, 4, 1))


def test_the_released_expert_is_read(tmp_path):
    arrays = {"obs": np.zeros((6, 3)), "actions": np.ones((6, 1)), "episode_starts": np.arange(6) % 3 == 0}
    np.savez(tmp_path / "expert_pendulum.npz", **arrays)
    found = released_pendulum(tmp_path)
    assert found.observations.shape == (2, 3, 3) and found.actions.sum() == 6
    np.savez(tmp_path / "expert_pendulum.npz", **{**arrays, "obs": np.zeros((5, 3))})
    with pytest.raises(ValueError, match="is damaged"):
        released_pendulum(tmp_path)
    with pytest.raises(FileNotFoundError):
        released_pendulum(tmp_path / "..")


def test_the_released_expert_swings_up():
    try:
        data_root()
        found = released_pendulum()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    assert found.observations.shape == (100, 200, 3) and found.actions.abs().max() <= 2
    assert (found.observations[:, -1, 0] > 0.9).float().mean() > 0.95
