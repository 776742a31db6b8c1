"""A small trained tokenizer on disk, and a folder of sound files."""

import pytest
import torch

from impl.corpus import trained
from impl.data.recordings import write_sound
from impl.data.sound import sounds

TARGET = "impl.tokenizers.sound.encodec:EnCodec"
NUMBERS = {"width": 4, "dim": 8, "codebook_size": 16, "num_codebooks": 2, "depths": [1, 2], "lstm_layers": 0}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "encodec.safetensors"
    torch.manual_seed(0)
    codec = trained.build(TARGET, NUMBERS)
    codec.train()(sounds("train", 8, 0.25))
    trained.save(path, codec, "encodec", TARGET, NUMBERS)
    return path


@pytest.fixture
def waves(tmp_path):
    """Ten sounds of different lengths."""
    folder = tmp_path / "waves"
    folder.mkdir()
    for index, waveform in enumerate(sounds("test", 10, 0.25)):
        write_sound(folder / f"{index}.wav", waveform[:, : 1500 + 37 * index], 8000)
    return folder
