"""The pyramid of codes: exact telescoping, prefixes decode, each scale leaves less."""

import pytest
import torch

from impl.data.captioned import captioned_digits
from impl.tokenizers.image.multi_scale import MultiScaleVQVAE, PyramidQuantizer
from impl.training import train


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    return PyramidQuantizer(8, 16, (1, 2, 4)).eval()


def latents(count=2, side=4):
    return torch.randn(count, side, side, 8, generator=torch.Generator().manual_seed(1))


def test_what_the_scales_add_is_what_decodes(quantizer):
    output = quantizer(latents())
    assert output.codes.shape == (2, 21, 1)
    torch.testing.assert_close(quantizer.decode(output.codes), output.latents)
    parts = quantizer.contributions(output.codes)
    torch.testing.assert_close(sum(parts).permute(0, 2, 3, 1), output.latents)
    assert torch.equal(quantizer.encode(latents()), output.codes)


def test_codes_of_a_scale_are_nearest_to_what_is_left(quantizer):
    codes = quantizer.encode(latents())
    rest = latents().permute(0, 3, 1, 2)
    for index, (start, stop) in enumerate([(0, 1), (1, 5), (5, 21)]):
        side = quantizer.scales[index]
        cell = 4 // side
        pooled = rest.unfold(2, cell, cell).unfold(3, cell, cell).mean(dim=(4, 5)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(quantizer.reduced(rest, index), pooled)
        assert torch.equal(torch.cdist(pooled, quantizer.codebook).argmin(dim=-1), codes[:, start:stop, 0])
        rest = rest - quantizer.enlarged(codes[:, start:stop, 0], index)


def test_losses_by_hand(quantizer):
    output = quantizer(latents())
    total, squares = 0, []
    for part in quantizer.contributions(output.codes):
        total = total + part
        squares.append((latents().permute(0, 3, 1, 2) - total).square().mean())
    torch.testing.assert_close(output.losses["codebook"], torch.stack(squares).mean())
    torch.testing.assert_close(output.losses["commitment"], torch.stack(squares).mean() / 4)


def test_gradients_reach_encoder_codebook_and_refinements(quantizer):
    z = latents().requires_grad_()
    output = quantizer.train()(z)
    (output.latents.sum() + sum(output.losses.values())).backward()
    assert z.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in quantizer.parameters())


def test_bad_codes_and_scales_are_refused(quantizer):
    assert quantizer.decode(torch.zeros(1, 5, 1, dtype=torch.int64)).shape == (1, 4, 4, 8)
    with pytest.raises(ValueError, match=r"\[1, 5, 21\]"):
        quantizer.decode(torch.zeros(1, 6, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\[0, 16\)"):
        quantizer.decode(torch.full((1, 5, 1), 16))
    with pytest.raises(ValueError, match="ascend"):
        PyramidQuantizer(8, 16, (2, 1))
    with pytest.raises(ValueError, match="side 4"):
        quantizer(latents(side=3))


@pytest.mark.claim
def test_each_scale_brings_the_image_nearer():
    data = captioned_digits()
    images = captioned_digits("test").images
    for seed in range(3):
        tokenizer = MultiScaleVQVAE.tiny(seed)
        train(tokenizer, data.images, steps=100, batch_size=16, learning_rate=3e-3, seed=seed, progress=False)
        with torch.no_grad():
            codes, target = tokenizer.encode(images), tokenizer.latents(images)
            decoded = [tokenizer.quantizer.decode(codes[:, :length]) for length in (1, 5, 14, 30)]
        errors = [(latent - target).square().mean().item() for latent in decoded]
        assert errors[0] > errors[1] > errors[2] > errors[3], errors


def test_latents_that_are_not_finite_are_refused(quantizer):
    for call in (quantizer, quantizer.encode):
        with pytest.raises(ValueError, match="finite"):
            call(torch.full((1, 4, 4, 8), torch.nan))
