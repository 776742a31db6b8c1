"""A trained tokenizer comes back from its file as it was, and a wrong file is named."""

import pytest
import torch

from impl import checkpoints
from impl.corpus import trained
from impl.data.sound import sounds

from .conftest import TARGET


def test_comes_back_with_the_same_codes(checkpoint, tmp_path):
    codec = trained.load(checkpoint, "encodec")
    again = tmp_path / "again.safetensors"
    trained.save(
        again,
        codec,
        "encodec",
        TARGET,
        {"width": 4, "dim": 8, "codebook_size": 16, "num_codebooks": 2, "depths": [1, 2], "lstm_layers": 0},
    )
    waveforms = sounds("test", 2, 0.25)
    assert torch.equal(trained.load(again).encode(waveforms), codec.encode(waveforms))
    assert not codec.training


def test_what_is_wrong_is_said(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        trained.load(tmp_path / "none")
    with pytest.raises(ValueError, match="holds the system 'encodec', not 'vqgan'"):
        trained.load(checkpoint, "vqgan")
    cut = tmp_path / "cut"
    cut.write_bytes(checkpoint.read_bytes()[:-5])
    with pytest.raises(ValueError, match="cut"):
        trained.load(cut)
    checkpoints.save(tmp_path / "other", {"a": torch.ones(1)}, {"kind": "training"})
    with pytest.raises(ValueError, match="no trained tokenizer"):
        trained.load(tmp_path / "other")
    with pytest.raises(ValueError, match="widht"):
        trained.build(TARGET, {"widht": 3})
    with pytest.raises(ValueError, match="tokenizer of files"):
        trained.build("impl.quantizers.fsq:FSQ", {})
