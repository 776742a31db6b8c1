"""Files as samples: found once, read as the tokenizer wants them, written back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from impl.corpus import samples

GREY = SimpleNamespace(modality="image", channels=1, hop=4)
COLOUR = SimpleNamespace(modality="image", channels=3, hop=4)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (10, 13, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_images_are_cut_to_whole_codes_and_come_back_exactly(picture, tmp_path):
    sample = samples.read(picture, COLOUR)
    assert sample.shape == (3, 8, 12)
    samples.write(tmp_path / "b.png", sample, COLOUR)
    assert torch.equal(samples.read(tmp_path / "b.png", COLOUR), sample)
    grey = samples.read(picture, GREY)
    assert grey.shape == (1, 8, 12)
    samples.write(tmp_path / "c.png", grey, GREY)
    assert torch.equal(samples.read(tmp_path / "c.png", GREY), grey)


def test_files_and_folders_are_found_sorted_and_once(picture, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.JPG").write_bytes(b"")
    (tmp_path / "note.txt").write_bytes(b"")
    assert samples.find([tmp_path], "image") == [str(picture), str(tmp_path / "deep" / "b.JPG")]
    with pytest.raises(ValueError, match="comes twice"):
        samples.find([picture, tmp_path], "image")
    with pytest.raises(FileNotFoundError, match="no sound file"):
        samples.find([tmp_path], "sound")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        samples.find([tmp_path / "nowhere"], "image")


def test_damaged_and_small_images(picture, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(ValueError, match="no whole image"):
        samples.read(cut, COLOUR)
    Image.new("RGB", (3, 9)).save(cut)
    with pytest.raises(ValueError, match="smaller than the 4 x 4 pixels"):
        samples.read(cut, COLOUR)
