"""Synthesised sound is what it says: deterministic, bounded, and its labels can be heard."""

import pytest
import torch

from impl.data.sound import PHONES, SAMPLE_RATE, VOWELS, sounds, speech


def test_same_arguments_same_sound_and_splits_differ():
    first, again = speech("train", 8), speech("train", 8)
    assert torch.equal(first.waveforms, again.waveforms)
    assert first.waveforms.shape == (8, 1, SAMPLE_RATE)
    assert first.waveforms.abs().max() <= 0.5
    assert not torch.equal(first.waveforms, speech("test", 8).waveforms)
    again.waveforms.zero_()
    assert speech("train", 8).waveforms.any()


def test_vowels_have_their_first_resonance():
    """The strongest part of the spectrum between 200 and 1000 Hz moves with the vowel."""
    spoken = speech("train", 200, 0.25, phones=1, speakers=1)
    spectra = torch.fft.rfft(spoken.waveforms[:, 0], n=2000).abs()
    frequencies = torch.fft.rfftfreq(2000, 1 / SAMPLE_RATE)
    low = (frequencies > 200) & (frequencies < 1000)
    peaks = frequencies[low][spectra[:, low].argmax(dim=1)]
    low_vowel = peaks[spoken.phones[:, 0] == PHONES.index("i")].mean()
    high_vowel = peaks[spoken.phones[:, 0] == PHONES.index("a")].mean()
    assert VOWELS["i"][0] < VOWELS["a"][0]
    assert high_vowel - low_vowel > 200


def test_sounds_are_loud_finite_and_of_five_kinds():
    waveforms = sounds("train", 11, 0.25)
    assert waveforms.shape == (11, 1, 2000)
    assert torch.isfinite(waveforms).all()
    torch.testing.assert_close(waveforms.abs().amax(dim=(1, 2)), torch.full((11,), 0.5))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="split"):
        speech("validation")
    with pytest.raises(ValueError, match="seconds must be positive"):
        sounds("train", 4, 0)
