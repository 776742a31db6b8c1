"""Assignment by chance: identities of the losses, the limit of no temperature, the reset."""

import math
from itertools import pairwise

import pytest
import torch

from impl.checks import check_quantizer
from impl.checks_parallel import check_data_parallel
from impl.quantizers.stochastic import StochasticVQ


def test_keeps_the_laws():
    check_quantizer(StochasticVQ)
    check_data_parallel([StochasticVQ])


def instance(**options):
    torch.manual_seed(0)
    return StochasticVQ(4, 6, **options).double()


def test_losses_by_hand():
    """KL(q | uniform) = log K - H(q); E_q |z - c|^2 = |z - E_q c|^2 + trace Var_q(c)."""
    quantizer = instance(divergence_weight=0.3, commitment_weight=0.7)
    vectors = torch.randn(9, 4, dtype=torch.float64)
    table = quantizer.codebook.detach()
    q = torch.softmax(-torch.cdist(vectors, table).square(), dim=1)
    divergence = (q * (q.log() + math.log(6))).sum(dim=1).mean()
    mean = q @ table
    variance = (q @ table.square() - mean.square()).sum(dim=1)
    expected = ((vectors - mean).square().sum(dim=1) + variance).mean()
    losses = quantizer(vectors).losses
    torch.testing.assert_close(losses["divergence"].detach(), 0.3 * divergence)
    torch.testing.assert_close(losses["commitment"].detach(), 0.7 * expected)
    relaxed = torch.distributions.RelaxedOneHotCategorical(
        torch.tensor(0.5), logits=quantizer.logits(vectors)
    )
    torch.testing.assert_close(relaxed.probs.detach(), q)


def test_a_cold_draw_is_a_codeword_and_follows_q():
    quantizer = instance(temperature=1e-6, last_temperature=1e-6, reset_every=1000).train()
    vector = torch.zeros(1, 4, dtype=torch.float64)
    output = quantizer(vector.expand(4000, 4))
    torch.testing.assert_close(output.latents, quantizer.codebook[output.codes[:, 0]], atol=1e-4, rtol=0)
    q = torch.softmax(quantizer.logits(vector), dim=1)[0].detach()
    drawn = torch.bincount(output.codes[:, 0], minlength=6) / 4000
    sampled = torch.bincount(quantizer.sample(vector.expand(4000, 4))[:, 0], minlength=6) / 4000
    for shares in (drawn, sampled):
        torch.testing.assert_close(shares.double(), q, atol=4 * math.sqrt(0.25 / 4000), rtol=0)
    assert torch.equal(quantizer.encode(vector)[0, 0], q.argmax()), "the likeliest is the nearest"


def test_the_temperature_falls_to_its_end():
    quantizer = instance(annealing=4, temperature=1.0, last_temperature=0.5)
    given = torch.randn(64, 4, dtype=torch.float64)
    sharpness = []
    for _ in range(6):
        torch.manual_seed(1)
        with torch.no_grad():
            latents = quantizer.train()(given).latents
        sharpness.append(torch.cdist(latents, quantizer.codebook).amin(dim=1).mean().item())
    assert all(later < earlier for earlier, later in pairwise(sharpness[:5]))
    assert sharpness[4] == sharpness[5]


def test_the_least_used_code_goes_to_the_most_used_one():
    quantizer = instance(reset_every=2, last_temperature=1e-6, temperature=1e-6).train()
    with torch.no_grad():
        quantizer.codebook.copy_(100 * torch.cat([torch.eye(4), -torch.eye(4)[:2]]))
    given = quantizer.codebook.detach()[[0, 0, 0, 1, 2, 3, 4]].clone()  # code 5 never
    before = quantizer.codebook.detach().clone()
    for _ in range(2):
        quantizer(given)
        assert torch.equal(quantizer.codebook, before)
    quantizer(given)
    assert torch.equal(quantizer.codebook[:5], before[:5])
    assert 0 < (quantizer.codebook[5] - before[0]).abs().max() < 0.1
    assert quantizer.counts.sum() == 7, "counting starts again"


@pytest.mark.parametrize("option", ["temperature", "last_temperature"])
def test_illegal_temperatures_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        StochasticVQ(4, 6, **{option: 0})
