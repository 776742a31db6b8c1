"""Sound files: read, resampled, written; and released recordings where they are on disk."""

import os
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor

from impl.data.files import data_root
from impl.data.sound import SAMPLE_RATE, Speech, split_index


def read_sound(path: str | os.PathLike, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Read a sound file (wav, flac, ogg and what else libsndfile knows), resampled where `sample_rate` asks for it.

    Returns:
        (channels, samples) float32, and its sample rate in Hz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, no sound, or empty.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path must name a sound file, there is none at {str(path)!r}")
    _check_whole(Path(path))
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError(f"{path} is no whole sound file: {error}") from error
    if not len(samples):
        raise ValueError(f"{path} holds no samples")
    if sample_rate is not None and sample_rate != rate:
        common = np.gcd(sample_rate, rate)
        samples, rate = resample_poly(samples, sample_rate // common, rate // common, axis=0), sample_rate
    return torch.from_numpy(np.ascontiguousarray(samples.T, dtype=np.float32)), rate


def write_sound(path: str | os.PathLike, waveform: Tensor, sample_rate: int) -> None:
    """Write (channels, samples) in [-1, 1] as 16-bit wav, replacing `path` in one step; what lies outside is cut off.

    Raises:
        ValueError: another shape.
    """
    if waveform.ndim != 2:
        raise ValueError(f"waveform must be (channels, samples), got shape {tuple(waveform.shape)}.")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        samples = waveform.detach().cpu().float().clamp(-1, 1).T.numpy()
        soundfile.write(temporary, samples, sample_rate, format="WAV", subtype="PCM_16")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def spoken_digits(split: str = "train", root: str | os.PathLike | None = None) -> Speech:
    """Load the recordings of the Free Spoken Digit Dataset (8 kHz), cut or filled with silence to one second.

    The official split: recordings 0 to 4 of each speaker and digit are the test set.

    Returns:
        waveforms (N, 1, 8000); phones (N, 1), here the digit; speakers (N,), numbered in the order of their names.

    Raises:
        FileNotFoundError: the folder `recordings` of the release is in none of the places named.
        ValueError: an unknown split.
    """
    wanted = split_index(split)
    base = data_root(root)
    folders = [base / "fsdd" / "recordings", base / "recordings"]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(
            f"none of {', '.join(map(str, folders))} is a folder: put the released recordings there, or pass root="
        )
    rows = []
    for path in sorted(folder.glob("*_*_*.wav")):
        digit, speaker, index = path.stem.split("_")
        if (int(index) < 5) == bool(wanted):
            rows.append((path, int(digit), speaker))
    names = sorted({speaker for _, _, speaker in rows})
    waveforms = torch.zeros(len(rows), 1, SAMPLE_RATE)
    for row, (path, _, _) in enumerate(rows):
        samples = read_sound(path, SAMPLE_RATE)[0][:1, :SAMPLE_RATE]
        waveforms[row, :, : samples.shape[1]] = samples
    digits = torch.tensor([digit for _, digit, _ in rows])[:, None]
    return Speech(waveforms, digits, torch.tensor([names.index(speaker) for _, _, speaker in rows]))


def _check_whole(path: Path) -> None:
    """Refuse a wav that is shorter than its header says: libsndfile would read what is left without a word."""
    with open(path, "rb") as stream:
        head = stream.read(12)
    promised = int.from_bytes(head[4:8], "little") + 8
    # Streamed files leave the size open, as zero or as the largest number.
    if head[:4] == b"RIFF" and head[8:] == b"WAVE" and path.stat().st_size < promised < 2**32 - 1:
        raise ValueError(
            f"{path} is no whole sound file: it was cut at {path.stat().st_size} of {promised} bytes"
        )
