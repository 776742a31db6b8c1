"""Captioned digits: the caption says what is in the image."""

import pytest
import torch

from impl.data.captioned import COLOURS, DIGITS, captioned_digits


def test_captions_name_digit_and_colour():
    data = captioned_digits("test")
    assert data.images.shape == (397, 3, 16, 16)
    assert data.images.min() >= -1
    assert data.images.max() <= 1
    colour, digit = list(COLOURS)[data.colours[5]], DIGITS[data.digits[5]]
    assert data.captions[5] == f"a {colour} {digit}"
    assert len(data.captions) == len(data.digits) == len(data.colours) == 397


def test_red_ink_is_red():
    data = captioned_digits("train")
    ink = (data.images + 1).sum(dim=(2, 3))
    red = ink[data.colours == list(COLOURS).index("red")]
    assert (red.argmax(dim=1) == 0).all()
    white = ink[data.colours == list(COLOURS).index("white")]
    torch.testing.assert_close(white[:, 0], white[:, 2])
    with pytest.raises(ValueError, match="split"):
        captioned_digits("all")
