"""HC-VQ: VQ-VAE inside it, the penalty by hand, the gap, the claim."""

import math

import pytest
import torch

from impl.benches import digits_autoencoder
from impl.quantizers.hc_vq import HCVQ, row_entropy
from impl.quantizers.persistence import death_times
from impl.quantizers.vq_vae import VectorQuantizer


def test_the_penalty_moves_only_the_codebook():
    torch.manual_seed(0)
    quantizer, plain = HCVQ(2, 5, spacing=0.3, spacing_weight=7.0, target_loops=2.0), VectorQuantizer(2, 5)
    plain.set_codebook(quantizer.codebook)
    latents = torch.randn(20, 2, requires_grad=True)
    output, expected = quantizer(latents), plain(latents)
    assert torch.equal(output.codes, expected.codes) and torch.equal(output.latents, expected.latents)
    assert all(torch.equal(output.losses[name], loss) for name, loss in expected.losses.items())
    assert output.losses.keys() - expected.losses.keys() == {"spacing", "loops"}
    mean = death_times(quantizer.codebook).mean()
    torch.testing.assert_close(output.losses["spacing"], 7 * (mean - 0.3) ** 2)
    to_latents, to_codebook = torch.autograd.grad(
        output.losses["spacing"], (latents, quantizer.codebook), allow_unused=True
    )
    assert to_latents is None and to_codebook.abs().sum() > 0


def test_the_term_of_loops_counts_them():
    quantizer = HCVQ(2, 6, target_loops=3.0)
    angles = torch.arange(6) * math.pi / 3
    quantizer.set_codebook(torch.stack([angles.cos(), angles.sin()], dim=1))
    torch.testing.assert_close(quantizer(torch.randn(4, 2)).losses["loops"].item(), 4.0, atol=1e-3, rtol=0)


def test_the_gap_closes_when_latents_are_as_varied_as_samples():
    quantizer = HCVQ(2, 2)
    quantizer.set_codebook(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    assert float(quantizer(torch.ones(1, 2)).losses["spacing"].detach()) > 0
    latents = torch.tensor([[[1.0, 0.1], [3.1, 0.0]]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    quantizer.refresh(latents, torch.tensor([[[2.0, -1.0], [1.0, 2.0]]]))
    torch.testing.assert_close(quantizer.gap.item(), 0.0, atol=1e-6, rtol=0)
    assert float(quantizer(torch.ones(1, 2)).losses["spacing"].detach()) < 1e-2
    quantizer.refresh(latents, torch.ones(1, 4, 3))
    torch.testing.assert_close(quantizer.gap.item(), 1 - entropy / math.log(4), atol=1e-6, rtol=0)
    assert row_entropy(torch.zeros(2, 3, 4)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook_size": 1}, "codebook_size must be at least 2"),
        ({"codebook_size": 4, "spacing": 0}, "spacing must be positive, got 0"),
    ],
)
def test_illegal_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HCVQ(4, **options)


@pytest.mark.claim
def test_a_set_spacing_keeps_the_codebook_in_use():
    """128 codes, 500 steps: more than twice the usage and perplexity of plain VQ at less error; codewords within
    10 % of the spacing asked for.
    """
    for seed in range(3):
        made = []

        def build(made=made):
            made.append(HCVQ(8, 128))
            return made[0]

        shaped = digits_autoencoder(build, seed=seed, steps=500)
        plain = digits_autoencoder(lambda: VectorQuantizer(8, 128), seed=seed, steps=500)
        assert shaped.usage > 2 * plain.usage and shaped.perplexity > 2 * plain.perplexity
        assert shaped.error < plain.error
        spacing = float(death_times(made[0].codebook.detach()).mean())
        assert 0.9 * 0.5 < spacing < 1.1 * 0.5
