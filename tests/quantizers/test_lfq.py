"""LFQ: signs, entropies of the paper's softmax, identities, another library."""

import math

import pytest
import torch

from impl.benches import digits_autoencoder
from impl.quantizers.lfq import LFQ


def cube(dim):
    return ((torch.arange(2**dim)[:, None] >> torch.arange(dim)) & 1).double() * 2 - 1


def test_the_code_is_the_nearest_corner_of_the_cube():
    latents = torch.randn(200, 6)
    nearest = (latents[:, None].double() - cube(6)[None]).square().sum(dim=-1).argmin(dim=1)
    assert torch.equal(LFQ(6).encode(latents)[:, 0], nearest)
    assert torch.equal(LFQ(6).decode(nearest[:, None]).double(), cube(6)[nearest])


def test_zero_counts_as_negative():
    assert LFQ(3).encode(torch.zeros(1, 3)).item() == 0


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_entropies_are_those_of_the_softmax_over_all_codes(temperature):
    """q(c | z) = softmax over the 2^D corners of 2 <z, c> / tau."""
    latents = torch.randn(40, 7).double()
    probabilities = torch.softmax(2 * latents @ cube(7).T / temperature, dim=1)
    sample, batch = LFQ(7, temperature).entropies(latents)
    torch.testing.assert_close(sample, -torch.xlogy(probabilities, probabilities).sum(dim=1).mean())
    mean = probabilities.mean(dim=0)
    torch.testing.assert_close(batch, -torch.xlogy(mean, mean).sum())


def test_losses_by_hand():
    lfq, latents = LFQ(5, entropy_weight=0.3, commitment_weight=0.7), torch.randn(20, 5)
    losses, (sample, batch) = lfq(latents).losses, lfq.entropies(latents)
    torch.testing.assert_close(losses["commitment"], 0.7 * (latents - latents.sign()).square().mean())
    torch.testing.assert_close(losses["entropy"], 0.3 * (sample - batch))


def test_the_penalty_is_lowest_for_sure_and_uniform_codes():
    """Its minimum, -D log 2 times the weight, is reached when each code is certain and all are used alike."""
    lfq = LFQ(5, entropy_weight=1.0)
    assert lfq(cube(5).float() * 50).losses["entropy"].item() == pytest.approx(-5 * math.log(2), rel=1e-5)
    assert lfq(torch.randn(100, 5)).losses["entropy"] > -5 * math.log(2)


def test_sign_quantization_of_a_gaussian():
    """+-1 leaves 2 - 2 sqrt(2 / pi) = 0.404231, above the 0.363380 of the best two levels."""
    latents = torch.special.ndtri((torch.arange(100000) + 0.5).double() / 100000)[:, None].float()
    lfq = LFQ(1)
    error = (lfq.decode(lfq.encode(latents)) - latents).square().mean().item()
    assert error == pytest.approx(0.404231, abs=1e-4)


def test_many_bits_need_no_table():
    """2^40 codes: memory that depended on the code count would not be there."""
    lfq = LFQ(40)
    latents = torch.randn(64, 40, requires_grad=True)
    output = lfq(latents)
    sum(output.losses.values()).backward()
    assert output.codes.max() > 2**35 and torch.isfinite(latents.grad).all()
    assert torch.equal(lfq.decode(output.codes), output.latents)


def test_agrees_with_vector_quantize_pytorch():
    """The same signs (lowest bit is the last channel) and, the same entropy term."""
    vqp = pytest.importorskip("vector_quantize_pytorch")
    theirs = vqp.LFQ(dim=6, codebook_size=64, entropy_loss_weight=1.0, commitment_loss_weight=0.0)
    latents = torch.randn(1, 50, 6)
    quantized, codes, loss = theirs.train()(latents, inv_temperature=2.0)
    ours = LFQ(6, temperature=0.5, entropy_weight=1.0, commitment_weight=0.0)
    output = ours(latents)
    assert torch.equal(quantized.detach(), output.latents)
    assert torch.equal(codes, ours.encode(latents.flip(-1))[..., 0])
    torch.testing.assert_close(loss, output.losses["entropy"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 63}, "dim must be at most 62 bits"),
        ({"dim": 0}, "dim must be at least 1"),
        ({"dim": 8, "temperature": 0.0}, "temperature must be positive"),
        ({"dim": 30, "entropy_group_size": 25}, "entropy_group_size must be at most 24"),
    ],
)
def test_illegal_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LFQ(**arguments)


@pytest.mark.claim
def test_the_entropy_penalty_keeps_codes_in_use_and_lowers_the_error():
    """6 bits a token: at least twice the codes in use, at 20 % less error, than without the penalty."""
    for seed in range(3):
        penalised = digits_autoencoder(lambda: LFQ(6), seed=seed)
        free = digits_autoencoder(lambda: LFQ(6, entropy_weight=0.0), seed=seed)
        assert penalised.usage > 2 * free.usage
        assert penalised.error < 0.8 * free.error
