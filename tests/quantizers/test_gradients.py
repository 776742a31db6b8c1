"""Straight-through: the codeword's value, the identity's gradient."""

import torch

from impl.quantizers.gradients import straight_through


def test_value_is_the_codeword_exactly():
    latents, codewords = torch.randn(100, 4) * 1e3, torch.randn(100, 4)
    assert torch.equal(straight_through(latents, codewords), codewords)
    assert not torch.equal(latents + (codewords - latents), codewords)  # the usual form does not keep it


def test_jacobian_is_the_identity_and_the_table_gets_nothing():
    latents = torch.randn(3, requires_grad=True)
    codewords = torch.randn(3, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(lambda z: straight_through(z, codewords), latents)
    assert torch.equal(jacobian, torch.eye(3))
    straight_through(latents, codewords).sum().backward()
    assert codewords.grad is None
