"""Reg-VQ around images: the contrastive loss by hand, its pull, the laws of a tokenizer."""

import torch
import torch.nn.functional as F

from impl.checks_tokenizers import check_tokenizer
from impl.tokenizers.image.reg_vq import LEAST_WEIGHT, RegVQAutoencoder, probabilistic_contrastive_loss


def unit(*shape, seed=0):
    draws = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(draws, dim=-1)


def test_keeps_the_laws():
    check_tokenizer(RegVQAutoencoder)


def test_equal_weights_make_it_infonce():
    features, targets = unit(2, 6, 4), unit(2, 6, 4, seed=1)
    expected = [
        F.cross_entropy(target @ feature.T / 0.2, torch.arange(6), reduction="sum")
        for feature, target in zip(features, targets, strict=True)
    ]
    for displacements in (torch.ones(2, 6), torch.zeros(2, 6)):
        found = probabilistic_contrastive_loss(features, targets, displacements.double(), 0.2)
        torch.testing.assert_close(found, sum(expected) / 2)


def test_the_loss_by_hand():
    features, targets = unit(1, 3, 4), unit(1, 3, 4, seed=1)
    displacements = torch.tensor([[3.0, 1.0, 0.0]]).double()
    similarity = torch.exp(targets[0] @ features[0].T / 0.5)
    expected = 0.0
    for place, weight in enumerate([0.75, 0.25, LEAST_WEIGHT / 3]):
        own = weight * similarity[place, place]
        others = (similarity[place].sum() - similarity[place, place]) / 3
        expected -= torch.log(own / (own + others))
    found = probabilistic_contrastive_loss(features, targets, displacements, 0.5)
    torch.testing.assert_close(found, expected)


def test_the_further_the_draw_the_weaker_the_pull():
    features, targets = unit(1, 3, 4).requires_grad_(), unit(1, 3, 4, seed=1)
    pulls = []
    for first in (0.1, 1.0, 10.0):
        displacements = torch.tensor([[first, 1.0, 1.0]]).double()
        loss = probabilistic_contrastive_loss(features, targets, displacements, 0.5)
        gradient = torch.autograd.grad(loss, features)[0][0, 0]
        pulls.append(float(-gradient @ targets[0, 0]))
    assert pulls[0] > pulls[1] > pulls[2]


def test_training_adds_the_loss_and_evaluation_does_not():
    model = RegVQAutoencoder.tiny()
    images = RegVQAutoencoder.example(count=4)
    output = model.train()(images)
    assert list(output.losses) == ["reconstruction", "prior", "contrastive"]
    gradients = torch.autograd.grad(output.losses["contrastive"], list(model.decoder.parameters()))
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
    assert not any(parameter.requires_grad for parameter in model.stages.parameters())
    assert "contrastive" not in model.eval()(images).losses
