"""Sound files: written and read back, resampled, and damaged ones named."""

import pytest
import torch

from impl.data.recordings import read_sound, spoken_digits, write_sound
from impl.data.sound import sounds


def test_what_is_written_is_read(tmp_path):
    waveform = sounds("train", 1, 0.25)[0]
    write_sound(tmp_path / "a.wav", waveform, 8000)
    again, rate = read_sound(tmp_path / "a.wav")
    assert rate == 8000
    torch.testing.assert_close(again, waveform, rtol=0, atol=1 / 2**15)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_resampling_keeps_a_tone(tmp_path):
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    write_sound(tmp_path / "a.wav", tone[None], 16000)
    slower, rate = read_sound(tmp_path / "a.wav", 8000)
    assert (slower.shape, rate) == ((1, 8000), 8000)
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 8000)
    assert (slower[0, 100:-100] - expected[100:-100]).abs().max() < 0.01


def test_damaged_missing_and_misshapen(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match="no whole sound file"):
        read_sound(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match=r"b\.wav"):
        read_sound(tmp_path / "b.wav")
    with pytest.raises(ValueError, match=r"\(channels, samples\)"):
        write_sound(tmp_path / "c.wav", torch.zeros(5), 8000)
    assert not (tmp_path / "c.wav").exists()


def test_spoken_digits_say_where_they_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="recordings"):
        spoken_digits("train", tmp_path)
    with pytest.raises(ValueError, match="split"):
        spoken_digits("validation", tmp_path)
