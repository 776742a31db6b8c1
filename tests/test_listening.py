"""The listener hears what was synthesised, and counts what it cannot hear as wrong."""

import torch

from impl.data.sound import speech
from impl.listening import Listener


def test_it_hears_vowels_and_voices_it_was_not_fitted_to():
    listener = Listener(speech("train", 200, 0.36, phones=3, speakers=4))
    held_out = speech("test", 60, 0.36, phones=3, speakers=4)
    heard = listener.heard(list(held_out.waveforms), held_out.phones, held_out.speakers)
    assert heard.phones > 0.95
    assert heard.speakers > 0.95
    # Other lengths, and another number of phones.
    longer = speech("test", 60, 0.6, phones=5, speakers=4)
    assert listener.heard(list(longer.waveforms), longer.phones, longer.speakers).phones > 0.85


def test_noise_and_what_is_too_short_are_not_heard_as_meant():
    spoken = speech("train", 100, 0.24, phones=2, speakers=4)
    listener = Listener(spoken)
    short = [waveform[:, :300] for waveform in spoken.waveforms]
    assert listener.heard(short, spoken.phones, spoken.speakers) == (0, 0)
    noise = 0.1 * torch.randn(100, 1, 1920, generator=torch.Generator().manual_seed(0))
    assert listener.heard(list(noise), spoken.phones, spoken.speakers).phones < 0.4
