"""Affine, alternating, synchronized: each alone by hand, VQ-VAE where all are off, the claim."""

import pytest
import torch

from impl.benches import digits_autoencoder
from impl.quantizers.straightening_ste import SynchronizedVQ
from impl.quantizers.vq_vae import VectorQuantizer


def instance(affine_scale=0.0, **options):
    torch.manual_seed(0)
    return SynchronizedVQ(4, 8, affine_scale=affine_scale, **options).train()


def test_with_all_off_it_is_vq():
    ours, plain = instance(), VectorQuantizer(4, 8)
    plain.set_codebook(ours.codebook.detach())
    latents, weights = torch.randn(32, 4, requires_grad=True), torch.randn(32, 4)
    found = []
    for quantizer in (ours, plain):
        output = quantizer(latents)
        total = (output.latents * weights).sum() + sum(output.losses.values())
        found.append(
            (output.latents, output.codes, *torch.autograd.grad(total, (latents, quantizer.codebook)))
        )
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_affine_map_moves_codes_that_nothing_chose():
    quantizer = instance(affine_scale=3.0)
    with torch.no_grad():
        quantizer.scale.copy_(torch.tensor([0.1, 0.0, -0.1, 0.2]))
        quantizer.shift.copy_(torch.tensor([1.0, 0.0, 2.0, -1.0]))
    before = quantizer.codewords().detach()
    torch.testing.assert_close(
        before,
        quantizer.codebook.detach() * torch.tensor([1.3, 1.0, 0.7, 1.6])
        + torch.tensor([3.0, 0.0, 6.0, -3.0]),
    )
    output = quantizer(torch.randn(1, 4))
    output.losses["codebook"].backward()
    torch.optim.SGD(quantizer.parameters(), lr=0.1).step()
    moved = (quantizer.codewords() - before).abs().sum(dim=1)
    assert len(output.codes.unique()) == 1 and (moved > 0).all()


def test_synchronized_codewords_get_a_share_of_the_decoders_gradient():
    quantizer, latents = instance(sync_weight=0.3), torch.randn(5, 4, requires_grad=True)
    output, weights = quantizer(latents), torch.randn(5, 4)
    to_latents, to_table = torch.autograd.grad(
        (output.latents * weights).sum(), (latents, quantizer.codebook)
    )
    torch.testing.assert_close(to_latents, weights)
    torch.testing.assert_close(to_table, torch.zeros(8, 4).index_add_(0, output.codes[:, 0], 0.3 * weights))
    assert torch.equal(output.latents, quantizer.codebook[output.codes[:, 0]])


def test_the_inner_step_is_gradient_descent_with_the_codes_fixed():
    quantizer, latents = instance(affine_scale=2.0, inner_rate=0.7), torch.randn(40, 4)
    with torch.no_grad():
        quantizer.scale.fill_(0.25)
    table = quantizer.codebook.detach().clone().requires_grad_()
    codes = torch.cdist(latents, 1.5 * table.detach()).argmin(dim=1)
    (latents - 1.5 * table[codes]).square().mean().backward()
    output = quantizer(latents)
    torch.testing.assert_close(quantizer.codebook.detach(), table.detach() - 0.7 * table.grad)
    assert torch.equal(output.codes[:, 0], codes)
    torch.testing.assert_close(output.latents, quantizer.codewords()[codes])


def test_the_inner_step_at_the_right_rate_is_lloyds():
    """With the rate N D / (2 n), codeword and centroid coincide after one step."""
    latents = torch.randn(40, 4)
    quantizer = instance(inner_rate=40 * 4 / (2 * 40))
    with torch.no_grad():
        quantizer.codebook[1:] = 1e3  # one codeword takes all
    quantizer(latents)
    torch.testing.assert_close(quantizer.codebook[0].detach(), latents.mean(dim=0))


def test_without_training_there_is_no_inner_step():
    quantizer = instance(inner_rate=0.7).eval()
    before = quantizer.codebook.clone()
    quantizer(torch.randn(40, 4))
    assert torch.equal(quantizer.codebook, before)


@pytest.mark.parametrize("option", ["affine_scale", "inner_rate", "sync_weight"])
def test_negative_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 0, got -1"):
        SynchronizedVQ(4, 8, **{option: -1})


@pytest.mark.claim
def test_the_affine_map_keeps_codes_in_use():
    """64 codes: all but all in use where plain VQ keeps some half, at 10 % less error."""
    for seed in range(3):
        affine = digits_autoencoder(lambda: SynchronizedVQ(8, 64), seed=seed)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 64), seed=seed)
        assert affine.usage > 0.9 and plain.usage < 0.7
        assert affine.error < 0.9 * plain.error
