"""VQ-VAE-2: causality of the levels, the single-level VQ-VAE inside it, its claim."""

import pytest
import torch
from torch import nn

from impl.data.images import photo_patches
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.tokenizers.image.pyramid import to_rows
from impl.tokenizers.image.vq_vae_2 import VQVAE2
from impl.training import train


def with_codebooks(**options):
    """An instance in evaluation mode whose codebooks are random and not waiting for data."""
    torch.manual_seed(0)
    model = VQVAE2(**{**VQVAE2.SMALL, **options}).eval()
    for quantizer in model.quantizers:
        quantizer.set_codebook(torch.randn(quantizer.codebook_size, quantizer.dim))
    return model


def test_rows_hold_the_tokens_under_one_top_token():
    model = with_codebooks(levels=3, codebook_size=(4, 8, 16))
    samples = torch.rand(2, 3, 16, 32)
    codes = model.encode(samples)
    assert model.codebook_sizes == (4,) + (8,) * 4 + (16,) * 16
    assert model.bits == 2 + 4 * 3 + 16 * 4 and model.hop == 16
    assert codes.shape == (2, 1, 2, 21)
    top, middle, bottom = model.grids(codes)
    assert (top.shape, middle.shape, bottom.shape) == ((2, 1, 2, 1), (2, 2, 4, 1), (2, 4, 8, 1))
    # The second top token covers the right half; the row below it starts in row 1 of that half.
    assert torch.equal(codes[0, 0, 1, 1:5], middle[0, :, 2:, 0].reshape(4))
    assert torch.equal(codes[0, 0, 1, 5:], bottom[0, :, 4:, 0].reshape(16))


def test_levels_are_quantized_from_the_top_down():
    """The bottom's codes do not reach the top's; the top's reach what the bottom is quantized from, and the image."""
    model, samples = with_codebooks(), torch.rand(2, 3, 16, 16)
    codes = model.encode(samples)
    with torch.no_grad():
        model.quantizers[1].codebook.neg_()
    assert torch.equal(model.encode(samples)[..., 0], codes[..., 0])
    seen = []
    model.quantizers[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    before = model(samples).reconstruction
    with torch.no_grad():
        model.quantizers[0].codebook.neg_()
    after = model(samples)
    assert not torch.allclose(seen[0], seen[1]), "the bottom is quantized without the top"
    other = codes.clone()
    other[..., 0] = (codes[..., 0] + 1) % 32
    assert not torch.allclose(model.decode(other), model.decode(codes)), "the decoder does not see the top"
    assert not torch.allclose(before, after.reconstruction)


def test_a_silent_top_leaves_a_single_level():
    """With one top codeword of zero and nothing upsampled from it: VQ-VAE of the bottom's networks, gradients too."""
    torch.manual_seed(0)
    model = VQVAE2(**{**VQVAE2.SMALL, "codebook_size": (1, 32)}).eval()
    model.quantizers[0].set_codebook(torch.zeros(1, 8))
    model.quantizers[1].set_codebook(torch.randn(32, 8))
    for part in (model.conditions[0], model.upsamplers[0]):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    quantizer = VectorQuantizer(8, 32, update="ema").eval()
    quantizer.set_codebook(model.quantizers[1].codebook)
    projection = nn.Conv2d(8, 8, 1)
    projection.weight.data, projection.bias.data = (
        model.projections[1].weight.data[:, :8],
        model.projections[1].bias.data,
    )

    class LowerHalf(nn.Module):
        def forward(self, latents):
            return model.decoder(torch.cat([torch.zeros_like(latents), latents], dim=1))

    single = ImageAutoencoder(quantizer, nn.Sequential(model.encoders[1], projection), LowerHalf())
    samples = torch.rand(2, 3, 16, 16)
    ours, theirs = model(samples), single(samples)
    assert torch.equal(
        ours.codes[..., 1:].reshape(-1), to_rows([ours.codes[..., :1], theirs.codes])[..., 1:].reshape(-1)
    )
    torch.testing.assert_close(ours.reconstruction, theirs.reconstruction)
    torch.testing.assert_close(ours.losses["commitment_1"], theirs.losses["commitment"])
    slopes = []
    for losses in (
        [ours.losses["reconstruction"], ours.losses["commitment_1"]],
        theirs.losses.values(),
    ):
        slopes.append(
            torch.autograd.grad(sum(losses), model.encoders[1].layers[0].weight, retain_graph=True)[0]
        )
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "levels must be at least 2, got 1"),
        ({"codebook_size": (8, 8, 8)}, "codebook_size must be one number or 2"),
    ],
)
def test_illegal_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VQVAE2(**{**VQVAE2.SMALL, **options})


def test_a_size_that_the_top_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divisible by 8, got 12 x 16"):
        VQVAE2(**VQVAE2.SMALL).encode(torch.rand(1, 3, 12, 16))


@pytest.mark.claim
def test_the_top_says_little_at_this_size():
    """What was found, at 120 bits a patch and equal steps: no difference from one level with as many bits but that of
    seeds, and the bottom carries nearly all: another image's top codes add less than half to the error, its bottom
    codes multiply it by eight or more.
    """
    images, held_out = photo_patches("train", 16), photo_patches("test", 16)[:600]
    errors = {"two levels": [], "one level": []}
    for seed in range(3):
        torch.manual_seed(seed)
        two = VQVAE2(dim=8, codebook_size=64, width=16, decay=0.9)
        torch.manual_seed(seed)
        quantizer = VectorQuantizer(8, 181, update="ema", decay=0.9, initialization="kmeans")
        one = ImageAutoencoder.small(quantizer, 8, channels=3, width=16)
        assert 4 * two.bits == 120 and 119.9 < 16 * quantizer.bits < 120
        for name, model in (("two levels", two), ("one level", one)):
            train(model, images, steps=250, batch_size=32, learning_rate=2e-3, seed=seed, progress=False)
            errors[name].append(error(model.eval(), held_out))
        codes, swapped = two.encode(held_out), {}
        for name, columns in (("top", slice(0, 1)), ("bottom", slice(1, 5))):
            other = codes.clone()
            other[..., columns] = codes[..., columns].roll(1, 0)
            swapped[name] = float((two.decode(other).detach() - held_out).square().mean())
        assert errors["two levels"][-1] <= swapped["top"] < 1.5 * errors["two levels"][-1]
        assert swapped["bottom"] > 8 * errors["two levels"][-1]
    assert 0.65 < sum(errors["two levels"]) / sum(errors["one level"]) < 1.5, (
        "no difference beyond that of seeds"
    )


@torch.no_grad()
def error(model, images):
    """Mean squared error of reconstructions."""
    return float((model(images).reconstruction - images).square().mean())
