"""Sound synthesised with known content, at once and offline; recordings are `impl.data.recordings`.

Waveforms are float32 in [-1, 1], shaped (N, 1, samples), 8 kHz.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

SAMPLE_RATE = 8000

#: First three resonances of the vocal tract in Hz, an average male speaker's (Peterson and Barney, 1952).
VOWELS: dict[str, tuple[float, float, float]] = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "er": (490, 1350, 1690),
}
PHONES = tuple(VOWELS)


class Speech(NamedTuple):
    """Synthesised utterances and all that is known about them.

    Attributes:
        waveforms: (N, 1, samples).
        phones: (N, P) int64, the index in `PHONES` of each of the P equally long vowels.
        speakers: (N,) int64.
    """

    waveforms: Tensor
    phones: Tensor
    speakers: Tensor


def speech(
    split: str = "train", count: int = 512, seconds: float = 1.0, phones: int = 4, speakers: int = 8
) -> Speech:
    """Synthesise vowels: a pulse train of the speaker's pitch through three resonators at the speaker's resonances.

    A speaker is a pitch (90 to 220 Hz) and a length of the vocal tract (resonances times 0.9 to 1.2); an utterance is
    `phones` vowels of equal length with a slight fall of the pitch. 8 kHz.

    Args:
        split: "train" or "test": other utterances of the same speakers.
        count: N.
        seconds: length of an utterance.
        phones: P.
        speakers: how many there are.

    Raises:
        ValueError: an unknown split, or an argument that is not positive.
    """
    _check_positive(count=count, seconds=seconds, phones=phones, speakers=speakers)
    return Speech(*(part.clone() for part in _speech(split_index(split), count, seconds, phones, speakers)))


@lru_cache(maxsize=8)
def _speech(seed: int, count: int, seconds: float, phones: int, speakers: int) -> Speech:
    generator = np.random.default_rng([seed, 1])
    spoken = generator.integers(len(PHONES), size=(count, phones))
    voices = generator.integers(speakers, size=count)
    samples = round(seconds * SAMPLE_RATE)
    waveforms = np.stack(
        [_utterance(*row, samples, speakers, generator) for row in zip(spoken, voices, strict=True)]
    )
    return Speech(torch.from_numpy(waveforms)[:, None], torch.from_numpy(spoken), torch.from_numpy(voices))


def _utterance(
    spoken: np.ndarray, speaker: int, samples: int, speakers: int, generator: np.random.Generator
) -> np.ndarray:
    share = speaker / max(speakers - 1, 1)
    pitch = 90 * (220 / 90) ** share
    # The tract's order of the speakers is another than the pitch's, so that the two can be told apart.
    tract = 0.9 + 0.3 * ((speaker * 3) % speakers) / max(speakers - 1, 1)
    glide = pitch * np.linspace(1.05, 0.95, samples) * generator.uniform(0.97, 1.03)
    phase = np.cumsum(glide / SAMPLE_RATE) + generator.random()
    # One pulse a period, and breath.
    source = np.diff(np.floor(phase), prepend=np.floor(phase[0])) + 0.01 * generator.normal(size=samples)
    edges = np.linspace(0, samples, len(spoken) + 1).round().astype(int)
    pieces, memory = [], [np.zeros(2)] * 3
    for phone, start, stop in zip(spoken, edges[:-1], edges[1:], strict=True):
        piece = source[start:stop]
        for index, frequency in enumerate(VOWELS[PHONES[phone]]):
            piece, memory[index] = _resonate(
                piece, min(frequency * tract, 3600), 60 + 30 * index, memory[index]
            )
        pieces.append(piece)
    waveform = np.concatenate(pieces)
    return (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)


def _resonate(piece: np.ndarray, frequency: float, bandwidth: float, memory: np.ndarray) -> tuple:
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE), radius**2]
    return lfilter([sum(poles)], poles, piece, zi=memory)


def sounds(split: str = "train", count: int = 256, seconds: float = 1.0) -> Tensor:
    """Synthesise sounds of five kinds in equal parts: speech, tones with vibrato, chirps, plucked strings, filtered
    noise: (count, 1, samples) at 8 kHz, in an order of kinds that repeats.

    Raises:
        ValueError: an unknown split, or an argument that is not positive.
    """
    _check_positive(count=count, seconds=seconds)
    generator = np.random.default_rng([split_index(split), 2])
    spoken = speech(split, -(-count // 5), seconds).waveforms[:, 0].numpy()
    samples = round(seconds * SAMPLE_RATE)
    makers = [_tone, _chirp, _pluck, _noise]
    rows = []
    for index in range(count):
        kind = index % 5
        row = spoken[index // 5] if kind == 0 else makers[kind - 1](samples, generator)
        rows.append(0.5 * row / np.abs(row).max())
    return torch.from_numpy(np.stack(rows).astype(np.float32))[:, None]


def _tone(samples: int, generator: np.random.Generator) -> np.ndarray:
    time = np.arange(samples) / SAMPLE_RATE
    pitch, depth, rate = generator.uniform(110, 880), generator.uniform(0, 8), generator.uniform(3, 7)
    phase = 2 * np.pi * pitch * time + depth / rate * np.sin(2 * np.pi * rate * time)
    strengths = generator.random(4) / np.arange(1, 5)
    return sum(strength * np.sin((k + 1) * phase) for k, strength in enumerate(strengths))


def _chirp(samples: int, generator: np.random.Generator) -> np.ndarray:
    first, last = generator.uniform(100, 3000, size=2)
    frequency = first * (last / first) ** np.linspace(0, 1, samples)
    return np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE)


def _pluck(samples: int, generator: np.random.Generator) -> np.ndarray:
    # Karplus and Strong (1983): noise that runs around a loop and loses its high part at every turn.
    period = int(generator.integers(10, 80))
    noise = np.zeros(samples)
    noise[:period] = generator.normal(size=period)
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1, -0.498, -0.498
    return lfilter([1.0], loop, noise)


def _noise(samples: int, generator: np.random.Generator) -> np.ndarray:
    centre, width = generator.uniform(200, 3000), generator.uniform(100, 1000)
    filtered, _ = _resonate(generator.normal(size=samples), centre, width, np.zeros(2))
    return filtered * np.exp(-generator.uniform(0, 4) * np.arange(samples) / samples)


def split_index(split: str) -> int:
    """Return 0 for "train" and 1 for "test".

    Raises:
        ValueError: anything else.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}.')
    return ("train", "test").index(split)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")
