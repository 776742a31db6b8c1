"""How far two waveforms are apart in the frequency domain, at several resolutions, on the scale of hearing."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiScaleMel(nn.Module):
    """Distance of log-mel spectrograms over windows of 2^5 to 2^11 samples (zeghidour2022soundstream,
    defossez2023high): mean absolute difference of the mel magnitudes plus the root of the mean square of their logs.

    Args:
        sample_rate: in Hz.
        windows: lengths in samples; the hop is a quarter.
        mels: bands, fewer where a short window has fewer bins.
    """

    def __init__(
        self, sample_rate: int, windows: tuple[int, ...] = (64, 128, 256, 512), mels: int = 64
    ) -> None:
        super().__init__()
        self.windows = windows
        for window in windows:
            bank = mel_filterbank(sample_rate, window, min(mels, window // 8))
            self.register_buffer(f"bank_{window}", bank, persistent=False)
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        """Return the distance, a scalar, of waveforms (B, C, N)."""
        total = reconstruction.new_zeros(())
        for window in self.windows:
            ours, theirs = (self._mel(waveform, window) for waveform in (reconstruction, target))
            # Half of the log's square under a root, frame by frame: a soft start where both are silent.
            logs = (torch.log(ours + 1e-5) - torch.log(theirs + 1e-5)).square().mean(dim=1)
            total = total + (ours - theirs).abs().mean() + (logs + 1e-8).sqrt().mean()
        return total / len(self.windows)

    def _mel(self, waveform: Tensor, window: int) -> Tensor:
        spectrum = spectrogram(waveform, window, getattr(self, f"window_{window}")).abs()
        return getattr(self, f"bank_{window}") @ spectrum


def spectrogram(waveform: Tensor, window: int, taper: Tensor | None = None) -> Tensor:
    """Return the complex spectrogram (B * C, window / 2 + 1, frames) of waveforms (B, C, N), hop window / 4, scaled so
    that a window's energy does not depend on its length.
    """
    flat = waveform.reshape(-1, waveform.shape[-1])
    if flat.shape[-1] < window:
        flat = F.pad(flat, (0, window - flat.shape[-1]))
    taper = torch.hann_window(window, device=flat.device) if taper is None else taper
    return torch.stft(
        flat, window, window // 4, window=taper, normalized=True, return_complex=True, pad_mode="constant"
    )


@lru_cache(maxsize=64)
def mel_filterbank(sample_rate: int, window: int, mels: int) -> Tensor:
    """Return triangular filters (mels, window / 2 + 1), equally spaced in mel from 0 to half the sample rate.

    A mel is 2595 log10(1 + f / 700 Hz). Filters narrower than a bin are widened to one, so that none is empty.
    """
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    centres = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1, dtype=torch.float64)
    width = (centres[1:] - centres[:-1]).clamp(min=sample_rate / window)
    rising = (bins - centres[1:-1, None]) / width[:-1, None] + 1
    falling = (centres[1:-1, None] - bins) / width[1:, None] + 1
    return torch.minimum(rising, falling).clamp(min=0).float()
