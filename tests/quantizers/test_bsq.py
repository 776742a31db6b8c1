"""BSQ: the sphere, closed-form errors, entropies of the paper's soft code, another library."""

import math

import pytest
import torch
import torch.nn.functional as F

from impl.benches import digits_autoencoder
from impl.quantizers.bsq import BSQ
from impl.quantizers.lfq import LFQ


def corners(dim):
    return (((torch.arange(2**dim)[:, None] >> torch.arange(dim)) & 1).double() * 2 - 1) / dim**0.5


def test_the_code_is_the_corner_of_greatest_cosine_and_has_length_one():
    latents = torch.randn(200, 6)
    nearest = (F.normalize(latents.double(), dim=1) @ corners(6).T).argmax(dim=1)
    output = BSQ(6)(latents)
    assert torch.equal(output.codes[:, 0], nearest)
    torch.testing.assert_close(output.latents.norm(dim=1), torch.ones(200))


@pytest.mark.parametrize(("dim", "expected"), [(2, 0.199367), (8, 0.353707), (18, 0.381924), (36, 0.393112)])
def test_the_error_of_uniform_directions_is_the_closed_form(dim, expected):
    """2 - 2 sqrt(D) G(D/2) / (sqrt(pi) G((D+1)/2)), and never above 2 - 2 / sqrt(D) (on the axes)."""
    closed = 2 - 2 * math.sqrt(dim / math.pi) * math.exp(math.lgamma(dim / 2) - math.lgamma((dim + 1) / 2))
    assert closed == pytest.approx(expected, abs=1e-6)
    bsq = BSQ(dim)
    directions = F.normalize(torch.randn(40000, dim, generator=torch.Generator().manual_seed(0)), dim=1)
    errors = (bsq.decode(bsq.encode(directions)) - directions).square().sum(dim=1)
    assert errors.mean().item() == pytest.approx(expected, rel=0.01)
    assert errors.max() <= 2 - 2 / math.sqrt(dim) + 1e-6
    axis = torch.eye(dim)[:1]
    worst = (bsq.decode(bsq.encode(axis)) - axis).square().sum().item()
    assert worst == pytest.approx(2 - 2 / math.sqrt(dim), rel=1e-5)


@pytest.mark.parametrize("inverse_temperature", [1.0, 10.0, 100.0])
def test_entropies_are_those_of_the_soft_code_over_all_corners(inverse_temperature):
    """q(c | u) = product over bits of sigmoid(2 tau c_i u_i)."""
    directions = F.normalize(torch.randn(40, 7).double(), dim=1)
    bits = torch.sigmoid(2 * inverse_temperature * corners(7)[None] * directions[:, None])
    probabilities = bits.prod(dim=-1)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(40, dtype=torch.float64))
    sample, batch = BSQ(7, inverse_temperature).entropies(directions)
    torch.testing.assert_close(sample, -torch.xlogy(probabilities, probabilities).sum(dim=1).mean())
    mean = probabilities.mean(dim=0)
    torch.testing.assert_close(batch, -torch.xlogy(mean, mean).sum())


def test_the_gradient_goes_through_the_projection():
    """Straight through the sign, but along the sphere: a gradient has no part in the latent's own
    direction.
    """
    latents = torch.randn(20, 6, requires_grad=True)
    (BSQ(6)(latents).latents * torch.randn(20, 6)).sum().backward()
    assert latents.grad.abs().sum() > 0
    torch.testing.assert_close((latents.grad * latents).sum(dim=1), torch.zeros(20), atol=1e-5, rtol=0)


def test_scale_does_not_matter():
    latents = torch.randn(50, 6)
    first, second = BSQ(6)(latents), BSQ(6)(latents * 100)
    assert torch.equal(first.codes, second.codes)
    torch.testing.assert_close(first.losses["entropy"], second.losses["entropy"])


def test_the_zero_latent_has_code_zero_and_no_gradient():
    latents = torch.zeros(1, 6, requires_grad=True)
    output = BSQ(6, entropy_weight=0.0)(latents)
    output.latents.sum().backward()
    assert output.codes.item() == 0 and torch.isfinite(latents.grad).all()


def test_agrees_with_vector_quantize_pytorch():
    """The same corners and codes; its lowest bit is the last channel."""
    vqp = pytest.importorskip("vector_quantize_pytorch")
    theirs = vqp.LFQ(dim=6, codebook_size=64, spherical=True).eval()
    latents = torch.randn(1, 50, 6)
    quantized, codes, _ = theirs(latents)
    ours = BSQ(6)
    torch.testing.assert_close(quantized, ours.eval()(latents).latents)
    assert torch.equal(codes, ours.encode(latents.flip(-1))[..., 0])


def test_illegal_settings_are_named():
    with pytest.raises(ValueError, match="inverse_temperature must be positive"):
        BSQ(8, inverse_temperature=-1.0)
    with pytest.raises(ValueError, match="dim must be at most 62 bits"):
        BSQ(63)


@pytest.mark.claim
def test_needs_no_entropy_penalty_to_use_its_codes():
    """6 bits a token and no penalty: all but 5 % of the codes in use, where LFQ loses half of them, at less
    error.
    """
    for seed in range(3):
        sphere = digits_autoencoder(lambda: BSQ(6, entropy_weight=0.0), seed=seed)
        cube = digits_autoencoder(lambda: LFQ(6, entropy_weight=0.0), seed=seed)
        assert sphere.usage >= 0.95 and cube.usage < 0.5
        assert sphere.error < 0.8 * cube.error
