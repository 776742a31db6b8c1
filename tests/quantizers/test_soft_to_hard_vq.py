"""Soft-to-hard VQ: both limits, exact gradients, the rate's bound, the controller by hand, the claim."""

import numpy as np
import pytest
import torch

from impl import metrics
from impl.quantizers.kmeans import kmeans
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.soft_to_hard_vq import SoftToHardVQ
from impl.tokenizers.image.autoencoder import ImageAutoencoder


def instance(**options):
    torch.manual_seed(0)
    return SoftToHardVQ(3, 5, **options).double()


def vectors(count=40):
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_limits_are_the_nearest_codeword_and_the_mean_of_all():
    quantizer, given = instance(), vectors()
    quantizer.hardness.fill_(1e4)
    nearest = quantizer.codebook[torch.cdist(given, quantizer.codebook).argmin(dim=1)]
    torch.testing.assert_close(quantizer.soft(given), nearest, atol=1e-6, rtol=0)
    quantizer.hardness.fill_(0.0)
    mean = quantizer.codebook.mean(dim=0).expand_as(given)
    torch.testing.assert_close(quantizer.soft(given), mean)


def test_training_decodes_the_soft_symbol_and_evaluation_the_nearest_codeword():
    quantizer, given = instance(hardness=0.7), vectors()
    weights = torch.exp(-0.7 * torch.cdist(given, quantizer.codebook).square())
    soft = weights / weights.sum(dim=1, keepdim=True) @ quantizer.codebook
    output = quantizer.train()(given)
    torch.testing.assert_close(output.latents, soft)
    hard = quantizer.eval()(given)
    assert torch.equal(hard.latents, quantizer.codebook[hard.codes[:, 0]])
    assert torch.equal(hard.codes, output.codes), "reported codes are the hard ones in training, too"


def test_gradients_of_output_and_rate_are_those_of_finite_differences():
    quantizer, given = instance(rate_weight=0.3), vectors(4).requires_grad_()
    quantizer.frequencies.copy_(torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25]))
    frequencies = quantizer.frequencies.clone()

    def run(latents, codebook):
        quantizer.frequencies.copy_(frequencies)  # each pass counts
        output = torch.func.functional_call(quantizer.train(), {"codebook": codebook}, (latents,))
        return output.latents, output.losses["rate"]

    codebook = quantizer.codebook.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (given, codebook))


def test_the_rate_is_the_cross_entropy_to_the_frequencies_and_bounds_the_entropy_of_hard_codes():
    quantizer, given = instance(rate_weight=2.0, hardness=0.7, decay=0.0), vectors(200)
    quantizer(given)
    counts = torch.bincount(quantizer.encode(given)[:, 0], minlength=5).double()
    p = counts / counts.sum()
    torch.testing.assert_close(quantizer.frequencies, p)
    phi = quantizer.assignment(given).detach()
    entropy = -(p * p.log()).sum()
    rate = quantizer(given).losses["rate"].detach() / 2
    torch.testing.assert_close(rate, -(phi * p.log()).sum(dim=1).mean())
    assert rate > entropy
    quantizer.hardness.fill_(1e6)
    torch.testing.assert_close(quantizer(given).losses["rate"].detach() / 2, entropy)


def test_the_controller_follows_its_recursion():
    quantizer = instance(hardness=2.0, gain=10.0, horizon=4.0, warmup=2)
    for gap in (0.0, 0.3):
        quantizer.anneal(torch.tensor(gap))
        assert float(quantizer.hardness) == 2.0, "the warm-up changes nothing"
    expected, gaps = 2.0, [0.5, 0.6, 0.7, 0.1, -9.0]
    for step, gap in enumerate(gaps):
        quantizer.anneal(torch.tensor(gap))
        expected = max(2.0, expected + 10 * (gap - 0.5 * 4 / (4 + step)))
        assert float(quantizer.hardness) == pytest.approx(expected, rel=1e-5)
    assert expected == 2.0


def test_an_autoencoder_reports_the_gap_of_its_own_decoder():
    torch.manual_seed(0)
    quantizer = SoftToHardVQ(8, 16, gain=1.0, horizon=1.0)
    model = ImageAutoencoder.small(quantizer, 8, channels=1, width=8, downsamplings=1)
    images = ImageAutoencoder.example(count=4)
    with torch.no_grad():
        output = model.train()(images)
        hard = (model.decode(output.codes) - images).square().mean()
    assert int(quantizer.calls) == 1
    torch.testing.assert_close(quantizer.first_gap, hard - output.losses["reconstruction"])
    model.eval()(images)
    assert int(quantizer.calls) == 1, "evaluation anneals nothing"


@pytest.mark.parametrize("option", ["hardness", "gain", "horizon"])
def test_illegal_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        SoftToHardVQ(4, 6, **{option: 0})
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        SoftToHardVQ(4, 6, decay=1)
    with pytest.raises(ValueError, match="warmup must be at least 0"):
        SoftToHardVQ(4, 6, warmup=-1)


def laplace(count, seed):
    draws = torch.empty(2, count, 1).exponential_(generator=torch.Generator().manual_seed(seed))
    return draws[0] - draws[1]


def annealed(source, rate_weight):
    """Codewords trained for error plus rate, started at quantiles of the source (N, 1)."""
    quantizer = SoftToHardVQ(1, 8, rate_weight, horizon=100.0)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.quantile(source[:, 0], (torch.arange(8) + 0.5) / 8)[:, None])
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.01)
    for _ in range(800):
        batch = source[torch.randint(len(source), (512,))]
        output = quantizer(batch)
        error = (output.latents - batch).square().mean()
        optimizer.zero_grad()
        (error + output.losses["rate"]).backward()
        optimizer.step()
        with torch.no_grad():
            quantizer.anneal((quantizer.decode(output.codes) - batch).square().mean() - error)
    return quantizer.codebook.detach()


def error_and_entropy(codewords, source):
    codes = nearest_codes(source, codewords)
    error = (codewords[codes] - source).square().mean()
    return float(error), float(metrics.entropy(codes[:, None], len(codewords)))


@pytest.mark.claim
def test_the_rate_loss_saves_bits_at_equal_error():
    """A Laplacian source, 8 codewords: entropy-coded, 0.05 bit less than Lloyd's quantizer of the same error."""
    for seed in range(3):
        torch.manual_seed(seed)
        source, held_out = laplace(8192, seed), laplace(20_000, 100 + seed)
        lloyd = [error_and_entropy(kmeans(source, size, 50, seed), held_out) for size in range(9, 2, -1)]
        errors, bits = zip(*lloyd, strict=True)
        free, taxed = (error_and_entropy(annealed(source, weight), held_out) for weight in (0.0, 0.2))
        assert taxed[1] < free[1] - 0.2, "the rate's weight has no effect on the rate"
        assert taxed[1] < np.interp(taxed[0], errors, bits) - 0.05
