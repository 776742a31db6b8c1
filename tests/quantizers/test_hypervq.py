"""HyperVQ: what the code is and is not, what learns, the claim."""

import pytest
import torch

from impl.benches import score
from impl.data.images import digit_labels, digits
from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder
from impl.quantizers.hypervq import HyperVQ
from impl.quantizers.poincare import exponential
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.training import train


def instance(**options):
    torch.manual_seed(0)
    return HyperVQ(3, 8, **options).double()


def test_the_codeword_is_the_class_of_the_regression_and_not_the_nearest_point():
    quantizer, latents = instance(), torch.randn(200, 3, dtype=torch.float64) / 2
    output = quantizer.eval()(latents)
    codes = quantizer.logits(latents).argmax(dim=1)
    assert torch.equal(output.codes[:, 0], codes)
    torch.testing.assert_close(output.latents, quantizer.codewords()[codes])
    geoopt = pytest.importorskip("geoopt")
    ball = geoopt.PoincareBall(c=1.0)
    points, codewords = quantizer.points(latents), exponential(quantizer.codewords(), 1.0)
    nearest = ball.dist(points[:, None], codewords[None]).argmin(dim=1)
    assert (nearest != codes).any()


def test_long_latents_are_clipped_and_keep_their_direction():
    quantizer = instance(clip=0.5, curvature=4.0)
    latents = torch.tensor([[30.0, 0, 0], [0, 0.1, 0]], dtype=torch.float64)
    points = quantizer.points(latents)
    torch.testing.assert_close(points, exponential(torch.tensor([[0.25, 0, 0], [0, 0.1, 0]]).double(), 4.0))


def test_reconstruction_alone_trains_everything():
    """The gradient of the index is that of softmax: J' C g with J = diag(p) - p p' over the logits."""
    quantizer = instance().eval()
    latents = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(3, dtype=torch.float64)
    output = quantizer(latents)
    assert output.losses == {}
    parameters = (latents, quantizer.orientations, quantizer.offsets)
    found = torch.autograd.grad((output.latents[0] * gradient).sum(), parameters, retain_graph=True)
    logits = quantizer.logits(latents)[0]
    p, table = torch.softmax(logits, dim=0).detach(), quantizer.codewords().detach()
    slope = (torch.diag(p) - torch.outer(p, p)) @ table @ gradient
    torch.testing.assert_close(found[0], torch.autograd.grad((logits * slope).sum(), latents)[0])
    assert all((part.abs() > 0).all() for part in found[1:])


@pytest.mark.parametrize("option", ["curvature", "temperature", "clip"])
def test_illegal_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        HyperVQ(4, 6, **{option: 0})


@pytest.mark.claim
def test_more_codes_in_use_but_no_better_features():
    """What was found with 128 codes: over 1.5 times the perplexity of plain VQ, at 5 to 20 % more error; a linear
    classifier on the codewords is right no more often.
    """
    linear_model = pytest.importorskip("sklearn.linear_model")
    options = {"steps": 500, "batch_size": 128, "learning_rate": 1e-3, "progress": False}
    errors, rights = {HyperVQ: 0.0, VectorQuantizer: 0.0}, {HyperVQ: 0.0, VectorQuantizer: 0.0}
    for seed in range(3):
        used = {}
        for make in errors:
            torch.manual_seed(seed)
            shape = {"channels": 1, "side": 8, "dim": 8, "tokens": 4}
            model = ImageAutoencoder(make(8, 128), PerceptronEncoder(**shape), PerceptronDecoder(**shape))
            train(model, digits("train"), seed=seed, **options)
            reached = score(model, digits("test"))
            used[make], errors[make] = reached.perplexity, errors[make] + reached.error
            features = [
                model.quantizer.decode(model.encode(digits(split))).detach().flatten(1)
                for split in ("train", "test")
            ]
            classifier = linear_model.LogisticRegression(max_iter=300)
            classifier.fit(features[0], digit_labels("train"))
            rights[make] += classifier.score(features[1], digit_labels("test")) / 3
        assert used[HyperVQ] > 1.5 * used[VectorQuantizer]
    assert 1.05 < errors[HyperVQ] / errors[VectorQuantizer] < 1.2
    assert rights[HyperVQ] < rights[VectorQuantizer]
