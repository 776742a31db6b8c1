"""SQ-VAE: the losses by hand, the limits of no noise and of much, the draw, the claim."""

import math

import pytest
import torch

from impl.benches import digits_autoencoder, score
from impl.data.images import digits
from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder
from impl.quantizers.sq_vae import GaussianSQ
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.image.variational import VariationalAutoencoder
from impl.training import train


def instance(**options):
    torch.manual_seed(0)
    return GaussianSQ(4, 6, **options).double()


def vectors(count=9):
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_losses_by_hand():
    """The posterior comes from Bayes' rule on Gaussian densities, the terms from the definition of the bound."""
    quantizer, given = instance(variance=0.7).train(), vectors()
    table = quantizer.codebook.detach()
    densities = torch.distributions.Normal(table, 0.7**0.5).log_prob(given[:, None]).sum(dim=2).exp()
    posterior = densities / densities.sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.softmax(quantizer.logits(given), dim=1).detach(), posterior)
    output = quantizer(given)
    distance = (given - output.latents).square().sum(dim=1).mean() / (2 * 0.7)
    torch.testing.assert_close(output.losses["distance"], distance)
    torch.testing.assert_close(
        output.losses["entropy"].detach(), (posterior * posterior.log()).sum(dim=1).mean()
    )


def test_no_noise_is_the_nearest_codeword_and_much_is_uniform():
    given = vectors(50)
    cold = instance(variance=1e-9, temperature_decay=1.0).train()
    cold.passes.fill_(10)
    output = cold(given)
    nearest = torch.cdist(given, cold.codebook).argmin(dim=1)
    assert torch.equal(output.codes[:, 0], nearest)
    torch.testing.assert_close(output.latents, cold.codebook[nearest])
    assert float(output.losses["entropy"].detach().abs()) < 1e-6
    hot = instance(variance=1e9).train()
    assert float(hot(given).losses["entropy"].detach()) == pytest.approx(-math.log(6))
    torch.testing.assert_close(torch.softmax(hot.logits(given), dim=1), torch.full((50, 6), 1 / 6).double())


def test_the_entropy_of_the_posterior_grows_with_the_variance():
    given = vectors()
    entropies = [float(instance(variance=v)(given).losses["entropy"].detach()) for v in (0.1, 0.5, 1.0, 3.0)]
    assert entropies == sorted(entropies, reverse=True)


def test_the_draw_is_pytorchs_gumbel_softmax_and_lies_in_the_hull():
    quantizer, given = instance().train(), vectors()
    torch.manual_seed(3)
    output = quantizer(given)
    torch.manual_seed(3)
    noise = -torch.log(-torch.log(torch.rand(9, 6, dtype=torch.float64)))
    mix = torch.softmax(quantizer.logits(given) + noise, dim=1)
    torch.testing.assert_close(output.latents, mix @ quantizer.codebook)
    assert torch.equal(output.codes[:, 0], mix.argmax(dim=1))


def test_cold_draws_follow_the_posterior():
    quantizer = instance(temperature_decay=1.0).train()
    quantizer.passes.fill_(100)
    given = torch.zeros(1, 4, dtype=torch.float64)
    output = quantizer(given.expand(4000, 4))
    away = (output.latents - quantizer.codebook[output.codes[:, 0]]).abs().amax(dim=1)
    assert (away < 1e-2).double().mean() > 0.99, "but for near ties a cold draw is a codeword"
    shares = torch.bincount(output.codes[:, 0], minlength=6) / 4000
    posterior = torch.softmax(quantizer.logits(given), dim=1)[0].detach()
    torch.testing.assert_close(shares.double(), posterior, atol=4 * math.sqrt(0.25 / 4000), rtol=0)


def test_the_temperature_falls_with_training_passes_alone():
    quantizer = instance(temperature_decay=0.5)
    for _ in range(3):
        quantizer.train()(vectors())
    quantizer.eval()(vectors())
    assert float(quantizer.temperature) == pytest.approx(math.exp(-1.5))


def test_every_part_gets_the_decoders_gradient():
    quantizer, given = instance().train(), vectors().requires_grad_()
    parts = (given, quantizer.codebook, quantizer.log_variance)
    for gradient in torch.autograd.grad(quantizer(given).latents.square().sum(), parts):
        assert (gradient != 0).all()


def test_illegal_options_are_refused():
    with pytest.raises(ValueError, match="variance must be positive and finite, got 0"):
        GaussianSQ(4, 6, variance=0)
    with pytest.raises(ValueError, match="temperature_decay must be at least 0, got -1"):
        GaussianSQ(4, 6, temperature_decay=-1)


@pytest.mark.claim
def test_uses_twice_the_codes_at_less_error_and_anneals_itself():
    """At 64 codes: over twice the perplexity of plain VQ, at least 5 % less error, a variance that keeps falling."""
    shape = {"channels": 1, "side": 8, "dim": 8, "tokens": 4}
    errors = {"stochastic": 0.0, "plain": 0.0}
    for seed in range(3):
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 64), 500, seed)
        torch.manual_seed(seed)
        quantizer = GaussianSQ(8, 64)
        model = VariationalAutoencoder(quantizer, PerceptronEncoder(**shape), PerceptronDecoder(**shape))
        variances = []

        def look(step, model, output, variances=variances):
            if step % 100 == 0:
                variances.append(float(model.quantizer.variance.detach()))

        train(model, digits("train"), steps=500, batch_size=128, seed=seed, progress=False, on_step=look)
        stochastic = score(model, digits("test"))
        assert stochastic.bits == plain.bits
        assert stochastic.perplexity > 2 * plain.perplexity
        assert variances[1:] == sorted(variances[1:], reverse=True) and variances[-1] < 0.9 * variances[1]
        errors["stochastic"] += stochastic.error / 3
        errors["plain"] += plain.error / 3
        assert stochastic.error < plain.error
    assert errors["stochastic"] < 0.95 * errors["plain"]
