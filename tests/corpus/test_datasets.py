"""Training data: embedded sets by name, files cut into pieces."""

import pytest
import torch

from impl.corpus import trained
from impl.corpus.datasets import training_data
from impl.data.recordings import read_sound


def test_pieces_of_files(checkpoint, waves):
    codec = trained.load(checkpoint)
    pieces = training_data([str(waves)], codec, 400)
    files = [read_sound(path)[0] for path in sorted(waves.iterdir())]
    assert len(pieces) == sum(waveform.shape[1] // 400 for waveform in files)
    assert torch.equal(pieces[1], files[0][:, 400:800])


def test_embedded_sets_and_what_is_wrong(checkpoint, waves):
    codec = trained.load(checkpoint)
    assert training_data(["speech"], codec, 400).shape == (1024, 1, 2000)
    with pytest.raises(ValueError, match="multiple of 40"):
        training_data([str(waves)], codec, 401)
    with pytest.raises(ValueError, match="longer files"):
        training_data([str(waves)], codec, 40_000)
    with pytest.raises(FileNotFoundError, match="embedded data are speech, sounds"):
        training_data(["speeches"], codec, 400)
