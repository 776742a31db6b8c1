"""Reg-VQ: the mask, both kinds of codes and gradients, the prior's divergence, the claim."""

import math

import pytest
import torch
import torch.nn.functional as F

from impl.benches import digits_autoencoder
from impl.quantizers.reg_vq import RegVQ
from impl.quantizers.vq_vae import VectorQuantizer


def instance(**options):
    torch.manual_seed(0)
    return RegVQ(3, 5, **options).double()


def vectors(count=40):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (0.4, 16), (1.0, 40)])
def test_an_exact_share_of_the_positions_is_sampled(ratio, count):
    sampled = instance(mask_ratio=ratio).sampled_positions(40)
    assert int(sampled.sum()) == count and sampled.shape == (40,)


def test_without_a_mask_codes_and_gradient_are_those_of_the_logits():
    quantizer, given = instance(mask_ratio=0.0), vectors().requires_grad_()
    logits = given @ quantizer.logits.weight.T + quantizer.logits.bias
    output = quantizer.train()(given)
    assert torch.equal(output.codes[:, 0], logits.argmax(dim=1))
    assert torch.equal(output.latents, quantizer.codebook[output.codes[:, 0]])
    assert torch.equal(output.codes, quantizer.eval()(given).codes)
    weights = vectors().flip(0)
    mix = torch.softmax(logits, dim=1) @ quantizer.codebook.detach()
    expected = torch.autograd.grad((mix * weights).sum(), given)[0]
    found = torch.autograd.grad((output.latents * weights).sum(), given)[0]
    torch.testing.assert_close(found, expected)


def test_with_a_full_mask_it_is_gumbel_softmax():
    """Draws follow the softmax; value and gradient are those of PyTorch's hard Gumbel-softmax for the same noise."""
    quantizer = instance(mask_ratio=1.0)
    one = vectors(1).expand(20_000, 3)
    logits = quantizer.logits(one[:1])[0].detach()
    counts = quantizer.train()(one).codes[:, 0].bincount(minlength=5)
    expected = 20_000 * torch.softmax(logits, dim=0)
    assert ((counts - expected).square() / expected).sum() < 18.5  # chi-square, 4 degrees of freedom: 0.1 %

    given, weights = vectors().requires_grad_(), vectors().flip(0)
    torch.manual_seed(3)
    output = quantizer(given)
    found = torch.autograd.grad((output.latents * weights).sum(), given)[0]
    torch.manual_seed(3)
    quantizer.sampled_positions(40)  # draws first
    noise = -torch.log(-torch.log(torch.rand(40, 5, dtype=torch.float64)))
    hard = F.one_hot((quantizer.logits(given) + noise).argmax(dim=1), 5).double()
    assert torch.equal(output.codes[:, 0], hard.argmax(dim=1))
    soft = torch.softmax(quantizer.logits(given) + noise, dim=1)
    carried = (hard - soft.detach() + soft) @ quantizer.codebook.detach()
    torch.testing.assert_close(found, torch.autograd.grad((carried * weights).sum(), given)[0])


def test_the_table_gets_the_gradient_of_the_chosen_codewords():
    quantizer, given = instance(mask_ratio=0.0), vectors()
    output, weights = quantizer.train()(given), vectors().flip(0)
    found = torch.autograd.grad((output.latents * weights).sum(), quantizer.codebook)[0]
    torch.testing.assert_close(found, torch.zeros(5, 3).double().index_add(0, output.codes[:, 0], weights))


def test_the_prior_is_log_k_minus_the_entropy_of_the_usage():
    quantizer = instance(prior_weight=0.5, mask_ratio=0.0)
    balanced = torch.eye(5).double().repeat(4, 1)
    assert float(quantizer.prior_divergence(balanced)) == pytest.approx(0, abs=1e-8)
    single = torch.eye(5).double()[[2] * 7]
    assert float(quantizer.prior_divergence(single)) == pytest.approx(math.log(5))
    output = quantizer.train()(vectors())
    usage = output.codes[:, 0].bincount(minlength=5) / 40
    expected = 0.5 * (math.log(5) + torch.special.xlogy(usage, usage).sum())
    assert float(output.losses["prior"].detach()) == pytest.approx(float(expected), abs=1e-6)


def test_the_prior_pulls_a_code_up_that_nothing_chose():
    quantizer = instance(prior_weight=1.0, mask_ratio=0.0)
    with torch.no_grad():
        quantizer.logits.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, -9.0]))
    output = quantizer.train()(vectors())
    assert not (output.codes == 4).any()
    gradient = torch.autograd.grad(output.losses["prior"], quantizer.logits.bias)[0]
    assert gradient[4] < 0 and torch.isfinite(gradient).all()


def test_displacement_is_zero_where_nothing_was_drawn():
    quantizer, given = instance(), vectors().reshape(4, 10, 3)
    codes = quantizer.encode(given)
    assert (quantizer.displacement(given, codes) == 0).all()
    other = (codes + 1) % 5
    expected = (quantizer.codebook[other[..., 0]] - quantizer.codebook[codes[..., 0]]).square().sum(dim=-1)
    torch.testing.assert_close(quantizer.displacement(given, other), expected)


def test_an_illegal_mask_ratio_is_refused():
    with pytest.raises(ValueError, match=r"mask_ratio must be in \[0, 1\], got 1.5"):
        RegVQ(4, 6, mask_ratio=1.5)


@pytest.mark.claim
@pytest.mark.long
def test_the_prior_keeps_the_codes_in_use():
    """512 codes: more than 70 % in use, where plain VQ and the same quantizer without the prior use a tenth.

    It is not the better autoencoder for that: its error is higher than that of plain VQ.
    """
    for seed in range(3):
        regular = digits_autoencoder(lambda: RegVQ(8, 512), seed=seed)
        free = digits_autoencoder(lambda: RegVQ(8, 512, prior_weight=0.0), seed=seed)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 512), seed=seed)
        assert regular.usage > 0.7
        assert free.usage < 0.2 and plain.usage < 0.1
        assert 1.1 < regular.error / plain.error < 1.35
