"""VQ-VAE's quantizer: losses and gradients by hand, EMA as Lloyd, Lloyd-Max, other libraries, its claim."""

from itertools import pairwise

import pytest
import torch

from impl.benches import digits_autoencoder
from impl.quantizers.vq_vae import VectorQuantizer

# Optimal scalar quantizers of the standard normal distribution: levels and mean squared error (Max 1960,
# Lloyd 1982).
LLOYD_MAX = {2: 0.36338, 4: 0.11748, 8: 0.03455, 16: 0.0095010}


def quantizer(**options):
    torch.manual_seed(0)
    return VectorQuantizer(4, 8, **options)


def test_losses_and_gradients_are_those_of_the_paper():
    """beta weighs the encoder's term alone; d/dz = 2 beta (z - e) / (N d), d/de_k = sum over its vectors of
    2 (e - z) / (N d).
    """
    vq = quantizer(commitment_weight=0.3)
    latents = torch.randn(10, 4, requires_grad=True)
    output = vq(latents)
    chosen = vq.codebook[output.codes[:, 0]]
    torch.testing.assert_close(output.losses["codebook"], ((latents - chosen) ** 2).mean())
    torch.testing.assert_close(output.losses["commitment"], 0.3 * ((latents - chosen) ** 2).mean())
    sum(output.losses.values()).backward()
    difference = (latents - chosen).detach()
    torch.testing.assert_close(latents.grad, 2 * 0.3 * difference / 40)
    expected = torch.zeros(8, 4).index_add(0, output.codes[:, 0], -2 * difference / 40)
    torch.testing.assert_close(vq.codebook.grad, expected)


def test_the_decoder_gradient_passes_unchanged_and_leaves_the_table_alone():
    vq = quantizer()
    latents, weights = torch.randn(10, 4, requires_grad=True), torch.randn(10, 4)
    (vq(latents).latents * weights).sum().backward()
    assert torch.equal(latents.grad, weights) and vq.codebook.grad is None


def test_the_codebook_loss_is_zero_exactly_at_the_centroids():
    vq = quantizer()
    latents = torch.randn(500, 4)
    vq.fit(latents, iterations=200)
    vq(latents).losses["codebook"].backward()
    assert vq.codebook.grad.abs().max() < 1e-6


def test_an_ema_step_without_memory_is_a_lloyd_iteration():
    vq = quantizer(update="ema", decay=0.0)
    latents = torch.randn(200, 4)
    codes, before = vq.encode(latents)[:, 0], vq.codebook.detach().clone()
    vq.train()(latents)
    for code in range(8):
        members = latents[codes == code]
        expected = members.mean(dim=0) if len(members) else before[code]
        if len(members):
            torch.testing.assert_close(vq.codebook[code].detach(), expected, rtol=1e-3, atol=1e-4)


def test_ema_never_raises_the_distortion_of_a_frozen_encoder():
    vq = quantizer(update="ema", decay=0.0)
    latents = torch.randn(500, 4)
    errors = [float((vq.train()(latents).latents - latents).square().mean()) for _ in range(30)]
    assert all(later <= earlier + 1e-5 for earlier, later in pairwise(errors))
    assert errors[-1] < 0.7 * errors[0]


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
@pytest.mark.parametrize("method", ["fit", "ema", "loss"])
def test_one_dimension_lands_on_lloyd_max(levels, method):
    """At 1 to 4 bits every way of learning comes within 1 % of the Gaussian's optimal distortion."""
    # Equally probable quantiles stand for the distribution without sampling noise.
    samples = torch.special.ndtri((torch.arange(20000) + 0.5).double() / 20000).float()[:, None]
    torch.manual_seed(0)
    vq = VectorQuantizer(1, levels, update="ema" if method == "ema" else "loss", decay=0.5)
    vq.set_codebook(torch.special.ndtri((torch.arange(levels) + 0.5) / levels)[:, None])
    if method == "fit":
        vq.fit(samples, iterations=1000)
    else:
        optimizer = torch.optim.SGD([vq.codebook], lr=0.5 * levels) if method == "loss" else None
        for _ in range(400):
            loss = vq.train()(samples).losses.get("codebook")
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    distortion = (vq.eval().decode(vq.encode(samples)) - samples).square().mean().item()
    assert distortion == pytest.approx(LLOYD_MAX[levels], rel=0.01)


def test_codes_on_the_circle():
    """K equally spaced codes on the unit circle leave an error of 2 (1 - s), s = sin(pi/K) / (pi/K)."""
    for size, expected in [(4, 0.199367), (8, 0.051009)]:
        angles = torch.arange(size) * 2 * torch.pi / size
        vq = VectorQuantizer(2, size)
        vq.set_codebook(torch.stack([angles.cos(), angles.sin()], dim=1))
        dense = torch.arange(100000) * 2 * torch.pi / 100000
        points = torch.stack([dense.cos(), dense.sin()], dim=1)
        error = (vq.decode(vq.encode(points)) - points).square().sum(dim=1).mean().item()
        assert error == pytest.approx(expected, rel=1e-4)


def test_isometries_and_permutations():
    vq = quantizer()
    latents, codes = torch.randn(100, 4), None
    vq.set_codebook(torch.randn(8, 4))
    codes = vq.encode(latents)
    rotation = torch.linalg.qr(torch.randn(4, 4)).Q
    turned, permuted = quantizer(), quantizer()
    turned.set_codebook(vq.codebook.detach() @ rotation + 3)
    assert torch.equal(turned.encode(latents @ rotation + 3), codes)
    order = torch.randperm(8)
    permuted.set_codebook(vq.codebook.detach()[order])
    assert torch.equal(order[permuted.encode(latents)], codes)


def test_kmeans_initialisation_waits_for_training_and_survives_a_checkpoint():
    vq = quantizer(initialization="kmeans")
    before = vq.codebook.detach().clone()
    vq.eval()(torch.randn(64, 4))
    assert torch.equal(vq.codebook, before) and not vq.initialized
    vq.train()(torch.randn(64, 4))
    assert vq.initialized and not torch.equal(vq.codebook, before)
    loaded = quantizer(initialization="kmeans")
    loaded.load_state_dict(vq.state_dict())
    loaded.train()(torch.randn(64, 4) + 9)
    assert torch.equal(loaded.codebook, vq.codebook)


def test_assigning_a_codebook_moves_its_average_too():
    vq = quantizer(update="ema")
    moved = torch.randn(8, 4) * 5
    vq.set_codebook(moved)
    vq.train()(moved.clone())
    torch.testing.assert_close(vq.codebook.detach(), moved, rtol=1e-3, atol=1e-3)


def test_ema_leaves_nothing_to_the_optimizer():
    assert [name for name, p in quantizer(update="ema").named_parameters() if p.requires_grad] == []


def test_agrees_with_vector_quantize_pytorch():
    """The same codes for the same codebook, and the same codebook after an EMA step from the same state."""
    vqp = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    theirs = vqp.VectorQuantize(dim=4, codebook_size=8, decay=0.9, rotation_trick=False)
    ours = VectorQuantizer(4, 8, update="ema", decay=0.9)
    table = torch.randn(8, 4)
    ours.set_codebook(table)
    theirs._codebook.embed.data.copy_(table[None])
    theirs._codebook.embed_avg.data.copy_(table[None])
    theirs._codebook.cluster_size.data.fill_(1.0)
    latents = torch.randn(2, 32, 4)
    assert torch.equal(theirs.eval()(latents)[1], ours.eval().encode(latents)[..., 0])
    theirs.train()(latents)
    ours.train()(latents)
    torch.testing.assert_close(theirs._codebook.embed[0], ours.codebook.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 0), {}, "codebook_size must be at least 1, got 0"),
        ((0, 4), {}, "dim must be at least 1, got 0"),
        ((4, 8), {"update": "adam"}, "update must be one of loss, ema, got 'adam'"),
        ((4, 8), {"initialization": "zeros"}, "initialization must be one of uniform, kmeans, got 'zeros'"),
    ],
)
def test_illegal_settings_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(*arguments, **options)


def test_a_codebook_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"codewords must have shape \(8, 4\), got \(4, 8\)"):
        quantizer().set_codebook(torch.zeros(4, 8))


@pytest.mark.claim
def test_a_moving_average_uses_more_codes_for_less_error():
    """At 512 codes and equal steps the EMA codebook keeps at least twice as many codes alive, at 10 % less
    error.
    """
    for seed in range(3):
        loss = digits_autoencoder(lambda: VectorQuantizer(8, 512), seed=seed)
        average = digits_autoencoder(lambda: VectorQuantizer(8, 512, update="ema"), seed=seed)
        assert average.usage > 2 * loss.usage
        assert average.error < 0.9 * loss.error
