"""Coloured digits, and a reader that says which digit an image shows."""

import pytest

from impl.benches import class_reader
from impl.data.captioned import captioned_digits


@pytest.fixture(scope="session")
def digits_16():
    """Return (training pairs, held-out images and digits)."""
    data, held_out = captioned_digits("train"), captioned_digits("test")
    return list(zip(data.images, data.digits, strict=True)), (held_out.images, held_out.digits)


@pytest.fixture(scope="session")
def share_read():
    """Return a function: the share of images (N, 3, 16, 16) in which a reader sees the digits (N,) asked for."""
    data = captioned_digits("train")
    read = class_reader(data.images.amax(dim=1), data.digits)

    def share(images, digits):
        return (read(images.amax(dim=1)) == digits).float().mean().item()

    return share
