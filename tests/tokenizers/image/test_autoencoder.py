"""The image autoencoder: shapes, round trip of codes, gradients through the quantizer, continuous twin."""

import pytest
import torch

from impl.quantizers.fsq import FSQ
from impl.quantizers.rvq import ResidualVQ
from impl.tokenizers.image.autoencoder import ImageAutoencoder


@pytest.mark.parametrize("quantizer", [FSQ([4, 4, 4, 4]), ResidualVQ(4, 8, 2)])
def test_codes_are_a_grid_and_decode_to_the_reconstruction(quantizer):
    model = ImageAutoencoder.small(quantizer, 4, channels=3, width=8).eval()
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    output = model(images)
    assert output.codes.shape == (2, 4, 6, len(quantizer.codebook_sizes))
    assert torch.equal(output.codes, model.encode(images))
    torch.testing.assert_close(model.decode(output.codes), output.reconstruction)


def test_the_loss_is_the_squared_error_and_what_the_quantizer_adds():
    model, images = ImageAutoencoder.tiny(), torch.rand(4, 1, 8, 8)
    output = model(images)
    expected = (output.reconstruction - images).square().mean()
    torch.testing.assert_close(output.losses["reconstruction"], expected)
    assert output.losses.keys() == {"reconstruction", "commitment"}


def test_the_reconstruction_trains_the_encoder():
    model, images = ImageAutoencoder.tiny(), torch.rand(4, 1, 8, 8)
    model(images).losses["reconstruction"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_without_a_quantizer_it_is_a_continuous_autoencoder():
    model, images = ImageAutoencoder.small(None, 4, channels=1, width=8), torch.rand(2, 1, 8, 8)
    output = model(images)
    assert output.codes.shape == (2, 2, 2, 0) and output.losses.keys() == {"reconstruction"}
    with pytest.raises(ValueError, match="quantizer must be set"):
        model.encode(images)


def test_tiny_is_a_function_of_its_seed():
    first, second, other = (ImageAutoencoder.tiny(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
