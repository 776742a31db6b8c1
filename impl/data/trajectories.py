"""Trajectories: what an actor saw and did, step by step, for imitation.

One source has a structure that is known, a pen whose strokes are put together from a few planted ones; the others are
gymnasium's simulators under a scripted controller, and released episodes where their files are on disk. Same arguments,
same trajectories.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from impl.data.files import locate

HEADINGS = 6
STEP = 0.25  # how far the pen goes in a step


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N trajectories of T steps.

    Attributes:
        observations: (N, T, O) float32, before each action.
        actions: (N, T, A) float32.
    """

    observations: Tensor
    actions: Tensor

    def __post_init__(self) -> None:
        if self.observations.ndim != 3 or self.actions.shape[:2] != self.observations.shape[:2]:
            shapes = f"{tuple(self.observations.shape)} and {tuple(self.actions.shape)}"
            raise ValueError(f"observations and actions must be (N, T, O) and (N, T, A), got {shapes}.")

    def __len__(self) -> int:
        """N."""
        return len(self.observations)


def planted_strokes(count: int = 5, seed: int = 0) -> list[tuple[int, ...]]:
    """Draw strokes: each a row of 4 to 9 of the six headings 0 to 5, no two of them alike."""
    generator = np.random.default_rng([seed, 1])
    strokes: list[tuple[int, ...]] = []
    while len(strokes) < count:
        drawn = tuple(generator.integers(0, HEADINGS, size=generator.integers(4, 10)).tolist())
        if drawn not in strokes:
            strokes.append(drawn)
    return strokes


def pen_step(positions: Tensor, actions: Tensor, generator: torch.Generator, noise: float = 0.02) -> Tensor:
    """Move pens at positions (..., 2) by actions (..., 2), whose length beyond 1.5 is cut; return where they are."""
    moved = actions * (1.5 / actions.norm(dim=-1, keepdim=True).clamp(min=1.5))
    return positions + STEP * moved + noise * torch.randn(positions.shape, generator=generator)


def pen_trajectories(headings: Tensor, seed: int = 0, jitter: float = 0.1) -> Trajectories:
    """Draw with a pen: the observation is where it is, the action where to, in steps.

    Args:
        headings: (N, T) int64, 0 to 5: multiples of 60 degrees. The action is their unit vector with noise.
        seed: of all noise.
        jitter: standard deviation of the noise on actions, and of where the pen starts.
    """
    generator = torch.Generator().manual_seed(seed)
    angles = headings * (2 * torch.pi / HEADINGS)
    actions = torch.stack([angles.cos(), angles.sin()], dim=-1)
    actions = actions + jitter * torch.randn(actions.shape, generator=generator)
    positions = [jitter * torch.randn(len(headings), 2, generator=generator)]
    for step in range(headings.shape[1] - 1):
        positions.append(pen_step(positions[-1], actions[:, step], generator))
    return Trajectories(torch.stack(positions, dim=1), actions)


def stroke_headings(
    strokes: list[tuple[int, ...]], count: int, length: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Put together rows of random strokes, cut at `length` steps.

    Returns:
        headings (count, length) and, alike, whether a stroke starts there (bool).
    """
    generator = np.random.default_rng([seed, 2])
    headings, starts = [], []
    for _ in range(count):
        row: list[int] = []
        first: list[bool] = []
        while len(row) < length:
            stroke = strokes[generator.integers(len(strokes))]
            row += stroke
            first += [True] + [False] * (len(stroke) - 1)
        headings.append(row[:length])
        starts.append(first[:length])
    return torch.tensor(headings), torch.tensor(starts)


def swing_up(observation: np.ndarray) -> np.ndarray:
    """Return the torque that swings gymnasium's pendulum up by pumping energy, and balances it near the top."""
    cosine, sine, speed = observation
    if cosine > 0.9:
        return np.clip(np.array([-(10 * np.arctan2(sine, cosine) + 2 * speed)]), -2, 2)
    energy = speed**2 / 2 + 15 * (cosine - 1)  # 0 at rest on the top
    return np.array([2.0 if speed * -energy >= 0 else -2.0])


def simulated(
    name: str = "Pendulum-v1",
    controller: Callable[[np.ndarray], np.ndarray] = swing_up,
    episodes: int = 20,
    steps: int = 200,
    noise: float = 0.1,
    seed: int = 0,
) -> Trajectories:
    """Run a controller in one of gymnasium's simulators of continuous actions.

    Args:
        name: of the environment.
        controller: maps an observation (O,) to an action (A,).
        episodes: N; episode i starts from seed + i.
        steps: T; an environment that ends before is an error.
        noise: standard deviation, in shares of half the range of an action, of what is added to each.
        seed: of the starts and of the noise.

    Raises:
        ValueError: the environment ended early.
    """
    import gymnasium  # here: a second that the other sources do not need

    environment = gymnasium.make(name, max_episode_steps=steps)
    low, high = environment.action_space.low, environment.action_space.high
    generator = np.random.default_rng([seed, 3])
    seen, done = [], []
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed + episode)
        for step in range(steps):
            drawn = noise * (high - low) / 2 * generator.standard_normal(low.shape)
            action = np.clip(controller(observation) + drawn, low, high).astype(np.float32)
            seen.append(observation)
            done.append(action)
            observation, _, ended, cut, _ = environment.step(action)
            if (ended or cut) and step + 1 < steps:
                raise ValueError(f"steps must be at most {step + 1}, where {name} ended, got {steps}.")
    environment.close()
    shape = (episodes, steps, -1)
    arrays = (np.asarray(part, dtype=np.float32).reshape(shape) for part in (seen, done))
    return Trajectories(*map(torch.from_numpy, arrays))


def released_pendulum(root: str | os.PathLike | None = None) -> Trajectories:
    """Load the released expert of the pendulum, 100 episodes of 200 steps, from `expert_pendulum.npz`.

    Args:
        root: the data folder, or the data set's own; by default the folder that `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged, or its episodes are not equally long.
    """
    path = locate(["expert_pendulum.npz"], ["rl-expert", "pendulum"], root)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("obs", "actions", "episode_starts")}
        count = int(arrays["episode_starts"].sum())
        parts = (arrays[name].reshape(count, -1, arrays[name].shape[1]) for name in ("obs", "actions"))
        return Trajectories(*(torch.from_numpy(part.astype(np.float32)) for part in parts))
    except (BadZipFile, KeyError, EOFError, OSError, IndexError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again.") from error
