"""VQ-KD: the loss by hand, what is decoded, whom the gradient reaches."""

import pytest
import torch
import torch.nn.functional as F

from impl.checks_tokenizers import check_tokenizer
from impl.tokenizers.image.beit_v2 import VQKD


def test_keeps_the_laws():
    check_tokenizer(VQKD)


def test_decode_of_the_codes_is_what_forward_tells():
    model, images = VQKD.tiny().eval(), VQKD.example(count=3)
    with torch.no_grad():
        output, codes = model(images), model.encode(images)
        assert torch.equal(output.codes, codes) and codes.shape == (3, 4, 4, 1)
        torch.testing.assert_close(model.decode(codes), output.reconstruction)
    assert output.reconstruction.shape == model.teacher(images).shape == (3, 16, 32)


def test_the_code_is_that_of_the_largest_cosine():
    model, images = VQKD.tiny().eval(), VQKD.example(count=3)
    latents = model.latents(images)
    cosines = F.cosine_similarity(latents[..., None, :], model.quantizer.codewords(), dim=-1)
    assert torch.equal(cosines.argmax(dim=-1), model.encode(images)[..., 0])


def test_losses_by_hand():
    model, images = VQKD.tiny().train(), VQKD.example(count=4)
    model(images)
    model.eval()
    output, latents = model(images), model.latents(images).detach()
    words = model.quantizer.codewords()[output.codes[..., 0]]
    commitment = (latents / latents.norm(dim=-1, keepdim=True) - words).square().mean()
    torch.testing.assert_close(output.losses["commitment"], commitment)
    told, felt, total = output.reconstruction, model.teacher(images), 0.0
    for row in range(4):
        for place in range(16):
            a, b = told[row, place], felt[row, place]
            total += 1 - a @ b / (a.norm() * b.norm())
    torch.testing.assert_close(output.losses["distillation"], total / 64)


def test_the_teacher_is_frozen_and_the_encoder_learns_through_the_codes():
    model = VQKD.tiny().train()
    model(VQKD.example(count=4)).losses["distillation"].backward()
    assert not model.teacher.training
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.narrow.parameters())
    assert model.quantizer.codebook.grad is None


def test_a_teacher_of_another_grid_is_refused():
    model = VQKD.tiny()
    model.teacher = torch.nn.Sequential(model.teacher, torch.nn.Unflatten(1, (4, 4)))
    with pytest.raises(ValueError, match=r"grid of patches, \(2, 16, 32\), got \(2, 4, 4, 32\)"):
        model(VQKD.example())
