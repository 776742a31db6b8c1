"""SimVQ: one step moves all codes by C dW', degenerate cases, another library, its claim."""

import pytest
import torch
from torch import nn

from impl.benches import digits_autoencoder
from impl.quantizers.simvq import SimVQ
from impl.quantizers.vq_vae import VectorQuantizer


def simvq(dim=4, size=8):
    torch.manual_seed(0)
    return SimVQ(dim, size)


def step(quantizer, latents, rate=0.1):
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=rate)
    quantizer.train()(latents).losses["codebook"].backward()
    optimizer.step()


def test_a_step_moves_the_whole_table_by_the_change_of_the_layer():
    quantizer = simvq()
    table, frozen = quantizer.codewords().detach(), quantizer.frozen.clone()
    weight, bias = (parameter.detach().clone() for parameter in quantizer.projection.parameters())
    step(quantizer, torch.randn(1, 4))
    moved = quantizer.codewords().detach() - table
    expected = frozen @ (quantizer.projection.weight - weight).T + (quantizer.projection.bias - bias)
    torch.testing.assert_close(moved, expected.detach())
    assert (moved.abs().sum(dim=1) > 0).all() and torch.equal(quantizer.frozen, frozen)


def test_an_identity_table_without_bias_is_plain_vq():
    """With K = D, C = I and no bias, the columns of W are a free codebook: a step is that of VQ-VAE's codebook loss."""
    quantizer, plain = simvq(dim=6, size=6), VectorQuantizer(6, 6)
    quantizer.frozen.copy_(torch.eye(6))
    nn.init.zeros_(quantizer.projection.bias).requires_grad_(False)
    plain.set_codebook(quantizer.codewords().detach())
    latents = torch.randn(32, 6)
    step(quantizer, latents)
    step(plain, latents)
    torch.testing.assert_close(quantizer.codewords(), plain.codebook)


def test_codes_agree_with_vector_quantize_pytorch():
    vqp = pytest.importorskip("vector_quantize_pytorch")
    theirs, ours = vqp.SimVQ(dim=4, codebook_size=8, rotation_trick=False), simvq()
    nn.init.zeros_(ours.projection.bias)
    theirs.frozen_codebook.copy_(ours.frozen)
    theirs.code_transform.weight.data.copy_(ours.projection.weight.data)
    latents = torch.randn(1, 50, 4)
    quantized, codes, _ = theirs.eval()(latents)
    assert torch.equal(codes, ours.encode(latents)[..., 0])
    torch.testing.assert_close(quantized, ours.eval()(latents).latents)


@pytest.mark.claim
def test_one_linear_layer_keeps_the_codebook_in_use():
    """512 codes: more than half in use where plain VQ keeps a tenth, at 20 % less error."""
    for seed in range(3):
        linear = digits_autoencoder(lambda: SimVQ(8, 512), seed=seed)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 512), seed=seed)
        assert linear.usage > 0.5 and plain.usage < 0.1
        assert linear.error < 0.8 * plain.error
