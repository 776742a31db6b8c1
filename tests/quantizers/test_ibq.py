"""IBQ: the gradient through the index by its Jacobian, losses by hand, the claim."""

import math

import pytest
import torch

from impl.benches import digits_autoencoder
from impl.quantizers.ibq import IBQ
from impl.quantizers.vq_vae import VectorQuantizer


def instance(**options):
    torch.manual_seed(0)
    return IBQ(4, 6, **options).double()


def test_codes_are_of_largest_inner_product_and_the_output_is_the_codeword():
    quantizer, latents = instance(), torch.randn(50, 4, dtype=torch.float64)
    codes = (latents @ quantizer.codebook.T).argmax(dim=1)
    output = quantizer(latents)
    assert torch.equal(output.codes[:, 0], codes)
    assert torch.equal(output.latents, quantizer.codebook[codes])
    assert (torch.cdist(latents, quantizer.codebook).argmin(dim=1) != codes).any(), (
        "not the nearest neighbour"
    )


def test_the_gradient_goes_through_the_index():
    """To z: C' (diag(p) - p p') C g. To codeword k: indicator_k g + p_k (<c_k, g> - <mix, g>) z."""
    quantizer = instance()
    latent = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(4, dtype=torch.float64)
    output = quantizer(latent)
    to_latent, to_table = torch.autograd.grad(
        (output.latents[0] * gradient).sum(), (latent, quantizer.codebook)
    )
    table = quantizer.codebook.detach()
    p = torch.softmax(table @ latent.detach()[0], dim=0)
    slope = (torch.diag(p) - torch.outer(p, p)) @ table @ gradient
    torch.testing.assert_close(to_latent[0], table.T @ slope)
    picked = torch.zeros(6, dtype=torch.float64).index_fill_(0, output.codes[0], 1.0)
    torch.testing.assert_close(
        to_table, torch.outer(picked, gradient) + torch.outer(slope, latent.detach()[0])
    )
    assert (to_table.abs().sum(dim=1) > 0).all(), "a codeword got no gradient"


def test_losses_by_hand():
    quantizer = instance(codebook_weight=0.3, entropy_weight=0.7, entropy_temperature=0.5)
    latents = torch.randn(20, 4, dtype=torch.float64, requires_grad=True)
    output, table = quantizer(latents), quantizer.codebook.detach()
    error = (latents - output.latents).square().mean().detach()
    p = torch.softmax(latents.detach() @ table.T / 0.5, dim=1)
    entropy = -(p * p.log()).sum(dim=1).mean() + (p.mean(dim=0) * p.mean(dim=0).log()).sum()
    expected = {
        "double_quantization": error,
        "commitment": error,
        "codebook": 0.3 * error,
        "entropy": 0.7 * entropy,
    }
    for name, loss in output.losses.items():
        torch.testing.assert_close(loss.detach(), expected[name])
    assert len(output.losses) == 4
    grad = torch.autograd.grad(output.losses["commitment"], latents, retain_graph=True)[0]
    torch.testing.assert_close(grad, 2 * (latents - output.latents).detach() / latents.numel())
    grad = torch.autograd.grad(output.losses["double_quantization"], quantizer.codebook, retain_graph=True)[0]
    assert (grad.abs().sum(dim=1) > 0).all(), "double quantization must reach every codeword"


def test_the_entropy_term_is_lowest_for_sure_and_balanced_codes():
    quantizer = instance(entropy_weight=1.0)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.cat([torch.eye(4), -torch.eye(4)[:2]]))
    latents = torch.cat([torch.eye(4), -torch.eye(4)[:2]]).double()
    assert quantizer(latents).losses["entropy"].item() == pytest.approx(-math.log(6), abs=1e-9)


@pytest.mark.parametrize("option", ["entropy_temperature", "codebook_deviation"])
def test_illegal_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        IBQ(4, 6, **{option: 0})


@pytest.mark.claim
def test_all_codewords_learn():
    """512 codes: more than half in use where plain VQ keeps a tenth, and less error."""
    for seed in range(3):
        index = digits_autoencoder(lambda: IBQ(8, 512, codebook_deviation=0.1), seed=seed, steps=500)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 512), seed=seed, steps=500)
        assert index.usage > 0.5 and plain.usage < 0.1
        assert index.error < 0.95 * plain.error
