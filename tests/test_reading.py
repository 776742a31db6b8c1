"""The reader of digits names what is there, in all three modalities, and nothing where nothing is."""

import pytest
import torch

from impl.data.sound import PHONES, speech
from impl.data.three_ways import SECONDS, said, three_ways
from impl.reading import NOTHING, DigitReader


@pytest.fixture(scope="module")
def reader():
    return DigitReader(speech("train", 400, SECONDS, phones=2, speakers=4))


@pytest.mark.parametrize("modality", ["text", "image", "speech"])
def test_reads_held_out_samples(reader, modality):
    data = three_ways("test")
    digits = reader.digits(data.samples()[modality], modality)
    share = (digits == data.digits).float().mean()
    assert share == 1 if modality == "text" else share > 0.85


def test_what_is_no_digit_is_nothing(reader):
    assert reader.digits(["sevn", "", "two"], "text").tolist() == [NOTHING, NOTHING, 2]
    spoken = speech("test", 200, SECONDS, phones=2, speakers=4)
    # "a a" says no digit.
    pair = torch.tensor([PHONES.index("a")] * 2)
    assert not (said(torch.arange(10)) == pair).all(dim=1).any()
    twice = spoken.waveforms[(spoken.phones == pair).all(dim=1)]
    assert len(twice) and (reader.digits(twice, "speech") == NOTHING).float().mean() > 0.5
    with pytest.raises(ValueError, match="modality must be"):
        reader.digits(["two"], "music")
