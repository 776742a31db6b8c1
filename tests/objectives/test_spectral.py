"""Mel distances: zero for equal waveforms, and the filterbank's shape."""

import pytest
import torch

from impl.data.sound import sounds
from impl.objectives.spectral import MultiScaleMel, mel_filterbank, spectrogram


def test_equal_waveforms_are_at_distance_zero_and_others_are_not():
    distance, waveforms = MultiScaleMel(8000), sounds("train", 5, 0.25)
    # The root's guard leaves 1e-4.
    assert distance(waveforms, waveforms).item() == pytest.approx(1e-4, rel=1e-3)
    assert distance(0.5 * waveforms, waveforms).item() > 0.1


def test_a_silent_reconstruction_has_a_finite_gradient():
    waveform = torch.zeros(1, 1, 1000, requires_grad=True)
    MultiScaleMel(8000)(waveform, sounds("train", 1, 0.125)).backward()
    assert torch.isfinite(waveform.grad).all()


@pytest.mark.parametrize(("window", "mels"), [(64, 8), (512, 64), (2048, 64)])
def test_every_filter_hears_something_and_peaks_in_order(window, mels):
    bank = mel_filterbank(8000, window, mels)
    assert bank.shape == (mels, window // 2 + 1)
    assert (bank.sum(dim=1) > 0).all()
    assert (bank.argmax(dim=1).diff() >= 0).all()


def test_a_tone_shows_at_its_frequency():
    time = torch.arange(8000) / 8000
    spectrum = spectrogram(torch.sin(2 * torch.pi * 1000 * time)[None, None], 256).abs()
    assert spectrum.shape == (1, 129, 126)
    assert spectrum[0, :, 60].argmax().item() == round(1000 / 8000 * 256)
