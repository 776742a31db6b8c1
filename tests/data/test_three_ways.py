"""Digits in three modalities: what is seen, written and said is the same digit."""

import pytest
import torch

from impl.data.captioned import DIGITS
from impl.data.images import digit_labels, digits
from impl.data.sound import speech
from impl.data.three_ways import SAID, SECONDS, said, three_ways


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_three_say_the_same_digit(split):
    data = three_ways(split)
    assert torch.equal(data.images, digits(split))
    assert torch.equal(data.digits, digit_labels(split))
    assert data.names == [DIGITS[digit] for digit in data.digits]
    # Every waveform is one of the synthesised utterances, of the phones and the voice that are claimed.
    spoken = speech(split, 1500, SECONDS, phones=2, speakers=4)
    found = {waveform.numpy().tobytes(): row for row, waveform in enumerate(spoken.waveforms)}
    rows = [found[waveform.numpy().tobytes()] for waveform in data.waveforms]
    assert torch.equal(spoken.phones[rows], said(data.digits))
    assert torch.equal(spoken.speakers[rows], data.speakers)


def test_no_two_digits_sound_alike_and_splits_share_no_utterance():
    assert len(set(SAID)) == len(SAID) == 10
    known = {waveform.numpy().tobytes() for waveform in three_ways("train").waveforms}
    assert not known & {waveform.numpy().tobytes() for waveform in three_ways("test").waveforms}
