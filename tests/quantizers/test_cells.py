"""Coarse cells with frames of their own: turning there and back."""

import torch

from impl.quantizers import cells as module
from impl.quantizers.cells import rotated_by_cell


def test_each_vector_is_turned_by_its_own_rotation(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    vectors, cells = torch.randn(7, 3, generator=generator), torch.tensor([0, 1, 1, 0, 2, 2, 0])
    rotations = torch.linalg.qr(torch.randn(3, 3, 3, generator=generator))[0]
    expected = torch.stack([x @ rotations[cell] for x, cell in zip(vectors, cells, strict=True)])
    torch.testing.assert_close(rotated_by_cell(vectors, cells, rotations), expected)
    monkeypatch.setattr(module, "BLOCK", 18)
    torch.testing.assert_close(rotated_by_cell(vectors, cells, rotations), expected)
    back = rotated_by_cell(expected, cells, rotations.transpose(1, 2))
    torch.testing.assert_close(back, vectors)
    assert rotated_by_cell(vectors[:0], cells[:0], rotations).shape == (0, 3)
