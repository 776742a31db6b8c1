"""Soft VQ-VAE: both limits, the posterior by hand, least mean squared error, losses and gradients, the claim."""

import math

import pytest
import torch

from impl.data.images import digit_labels, digits
from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder
from impl.quantizers.soft_vq_vae import SoftVQ
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.training import train


def instance(**options):
    torch.manual_seed(0)
    return SoftVQ(3, 5, **options).double()


def vectors(count=40):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_limits_are_the_nearest_codeword_and_the_mean_of_all():
    given = vectors()
    sharp = instance(initial_scale=0.01)
    nearest = sharp.codebook[torch.cdist(given, sharp.codebook).argmin(dim=1)]
    torch.testing.assert_close(sharp.soft(given), nearest)
    assert torch.equal(sharp.eval()(given).latents, nearest)
    blurred = instance(initial_scale=100.0)
    mean = blurred.codebook.mean(dim=0).expand_as(given)
    torch.testing.assert_close(blurred.soft(given), mean, atol=1e-2, rtol=0)


def test_the_posterior_is_that_of_normal_densities_with_predicted_scales():
    quantizer, given = instance(), vectors()
    with torch.no_grad():
        quantizer.log_scales.weight.normal_(std=0.3)
        quantizer.log_scales.bias.normal_(std=0.3)
    scales = torch.exp(given @ quantizer.log_scales.weight.T + quantizer.log_scales.bias)
    centred = given[:, None] - quantizer.codebook
    log_density = torch.distributions.Normal(0, scales[..., None]).log_prob(centred).sum(dim=2)
    posterior = log_density.exp() / log_density.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.softmax(quantizer.posterior_logits(given), dim=1), posterior)
    torch.testing.assert_close(quantizer.train()(given).latents, posterior @ quantizer.codebook)
    assert torch.equal(quantizer.encode(given)[:, 0], posterior.argmax(dim=1))


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0])
def test_the_posterior_mean_is_nearer_to_the_clean_codeword_than_the_nearest_codeword(scale):
    """A grid of 4 x 4 under noise of a known scale: nothing has less mean squared error than the posterior mean."""
    torch.manual_seed(0)
    quantizer = SoftVQ(2, 16, initial_scale=scale)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)))
    clean = quantizer.codebook[torch.randint(16, (20_000,))]
    noisy = clean + scale * torch.randn_like(clean)
    soft = (quantizer.soft(noisy) - clean).square().sum(dim=1).mean()
    hard = (quantizer.decode(quantizer.encode(noisy)) - clean).square().sum(dim=1).mean()
    assert soft < {0.2: 1.0, 0.5: 0.85, 1.0: 0.85}[scale] * hard


def test_losses_and_gradients_by_hand():
    quantizer, given = instance(commitment_weight=0.3), vectors().requires_grad_()
    output = quantizer.train()(given)
    soft = quantizer.soft(given)
    error = (given - soft).square().mean()
    torch.testing.assert_close(output.losses["codebook"], error)
    torch.testing.assert_close(output.losses["commitment"], 0.3 * error)
    gradient = torch.autograd.grad(output.losses["commitment"], given, retain_graph=True)[0]
    torch.testing.assert_close(gradient, 0.6 * (given - soft).detach() / given.numel())
    weights = vectors().flip(0)
    gradient = torch.autograd.grad((output.latents * weights).sum(), given, retain_graph=True)[0]
    torch.testing.assert_close(gradient, weights, msg="the decoder's gradient must pass unchanged")
    learned = [quantizer.codebook, *quantizer.log_scales.parameters()]
    for gradient in torch.autograd.grad(output.losses["codebook"], learned, retain_graph=True):
        assert (gradient != 0).all(), "codewords and scales learn from the codebook loss"


def test_the_codebook_loss_has_the_gradient_of_finite_differences():
    quantizer, given = instance(), vectors(4)

    def loss(codebook, bias):
        state = {"codebook": codebook, "log_scales.bias": bias}
        return torch.func.functional_call(quantizer, state, (given,)).losses["codebook"]

    inputs = quantizer.codebook, quantizer.log_scales.bias
    assert torch.autograd.gradcheck(loss, [part.detach().clone().requires_grad_() for part in inputs])


def test_scales_out_of_range_are_refused():
    for scale in (0.0, 1e3):
        with pytest.raises(ValueError, match="initial_scale must be in"):
            SoftVQ(4, 6, initial_scale=scale)
    assert float(SoftVQ(4, 6, initial_scale=0.5).log_scales.bias.detach()[0]) == pytest.approx(math.log(0.5))


def probe(quantizer, represent, seed):
    """Accuracy on held-out digits of a linear classifier over represent(latents), and the error with hard codes."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    shape = {"channels": 1, "side": 8, "dim": 8, "tokens": 4}
    model = ImageAutoencoder(quantizer, PerceptronEncoder(**shape), PerceptronDecoder(**shape))
    train(model, digits("train"), steps=500, batch_size=128, learning_rate=1e-3, seed=seed, progress=False)
    features = {}
    with torch.no_grad():
        for split in ("train", "test"):
            latents = model.latents(digits(split))
            features[split] = represent(latents.reshape(-1, 8)).reshape(len(latents), -1)
        error = (model.eval()(digits("test")).reconstruction - digits("test")).square().mean()
    scale = features["train"].std()
    reader = linear_model.LogisticRegression(max_iter=2000)
    reader.fit(features["train"] / scale, digit_labels("train"))
    return reader.score(features["test"] / scale, digit_labels("test")), float(error)


@pytest.mark.claim
@pytest.mark.long
def test_posterior_means_are_read_better_than_codewords():
    """32 codewords: a linear classifier reads the digit off four posterior means 3 points better than off codewords.

    But they are no codes. A decoder that was trained on means and is given codewords is worse than a grey average.
    """
    average = (digits("train").mean(dim=0) - digits("test")).square().mean()
    for seed in range(3):
        torch.manual_seed(seed)
        soft = SoftVQ(8, 32)
        accuracy, error = probe(soft, soft.soft, seed)
        torch.manual_seed(seed)
        hard = VectorQuantizer(8, 32, "ema", initialization="kmeans")
        assert (
            accuracy
            > probe(hard, lambda latents, hard=hard: hard.decode(hard.encode(latents)), seed)[0] + 0.03
        )
        assert error > 2 * average
