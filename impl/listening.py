"""Hears vowels and voices in synthesised speech: what a model of speech has said, and in whose voice, as numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from impl.data.sound import Speech

_WINDOW, _HOP, _CEPSTRUM = 400, 80, 25


class Heard(NamedTuple):
    """Share of phones and share of voices that were heard as meant."""

    phones: float
    speakers: float


class Listener:
    """Linear discriminants of vowels (by the cepstrum's low part) and of voices (by the mean log-spectrum).

    Fit it to speech that has been through the codec which its subjects use: else it hears the codec first.

    Args:
        spoken: utterances of equally many, equally long phones, as `impl.data.sound.speech` gives them.
    """

    def __init__(self, spoken: Speech) -> None:
        count = spoken.phones.shape[1]
        vowels = torch.cat([_vowels(waveform, count) for waveform in spoken.waveforms])
        voices = torch.stack([_spectra(waveform).mean(dim=0) for waveform in spoken.waveforms])
        self._phones = _discriminant().fit(vowels.numpy(), spoken.phones.flatten().numpy())
        self._speakers = _discriminant().fit(voices.numpy(), spoken.speakers.numpy())

    def phones(self, waveform: Tensor, count: int) -> Tensor:
        """Return which `count` phones (count,) are heard in equal parts of a waveform (1, N)."""
        return torch.from_numpy(self._phones.predict(_vowels(waveform, count).numpy()))

    def speaker(self, waveform: Tensor) -> int:
        """Return whose voice is heard in a waveform (1, N)."""
        return int(self._speakers.predict(_spectra(waveform).mean(dim=0)[None].numpy())[0])

    def heard(self, waveforms: Sequence[Tensor], phones: Tensor, speakers: Tensor) -> Heard:
        """Return the shares in waveforms (1, N) of any lengths of phones (B, P) and speakers (B,) heard as meant.

        What is too short to hear its phones in counts as wrong.
        """
        right, voices, count = 0, 0, phones.shape[1]
        for waveform, said, speaker in zip(waveforms, phones, speakers, strict=True):
            if waveform.shape[1] < _WINDOW + 2 * count * _HOP:
                continue
            right += int((self.phones(waveform, count) == said).sum())
            voices += self.speaker(waveform) == int(speaker)
        return Heard(right / phones.numel(), voices / len(speakers))


def _discriminant() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _spectra(waveform: Tensor) -> Tensor:
    """Log-spectra (frames, 201) of a waveform (1, N), one every 10 ms."""
    pieces = waveform[0].detach().float().cpu().unfold(0, _WINDOW, _HOP) * torch.hann_window(_WINDOW)
    return (torch.fft.rfft(pieces).abs() + 1e-3).log()


def _vowels(waveform: Tensor, count: int) -> Tensor:
    """Cepstra (count, 25), each the mean over the middle half of one of `count` equal parts of a waveform (1, N)."""
    cepstra = torch.fft.irfft(_spectra(waveform))[:, :_CEPSTRUM]
    share = len(cepstra) / count
    parts = [cepstra[int((index + 0.25) * share) : int((index + 0.75) * share) + 1] for index in range(count)]
    return torch.stack([part.mean(dim=0) for part in parts])
