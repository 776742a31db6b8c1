import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from impl.data.images import photo_patches
from impl.networks.convolutional import ConvDecoder, ConvEncoder, ResidualBlock


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(0, 3),
    channels=st.integers(1, 4),
    dim=st.integers(1, 9),
    width=st.integers(2, 20),
    halvings=st.integers(0, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
)
def test_shapes_there_and_back(batch, channels, dim, width, halvings, rows, columns):
    encoder = ConvEncoder(channels, dim, width, halvings)
    decoder = ConvDecoder(dim, channels, width, halvings)
    images = torch.zeros(batch, channels, rows * 2**halvings, columns * 2**halvings)
    features = encoder(images)
    assert features.shape == (batch, dim, rows, columns)
    assert decoder(features).shape == images.shape


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    encoder, decoder = ConvEncoder(3, 5), ConvDecoder(5, 3)
    decoder(encoder(torch.randn(4, 3, 16, 16))).square().mean().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_sample_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    encoder, decoder = ConvEncoder(1, 4), ConvDecoder(4, 1)
    images = torch.randn(5, 1, 8, 8)
    together = decoder(encoder(images))
    alone = torch.cat([decoder(encoder(image[None])) for image in images])
    torch.testing.assert_close(together, alone)


def test_the_transposed_convolution_meets_every_inner_pixel_equally_often():
    decoder = ConvDecoder(2, 1, width=4, upsamplings=1)
    last = decoder.layers[-1]
    with torch.no_grad():
        last.weight.fill_(1)
        last.bias.zero_()
        out = last(torch.ones(1, 4, 6, 6))[0, 0, 1:-1, 1:-1]
    assert out.unique().numel() == 1


def test_a_residual_block_whose_last_layer_is_zero_is_the_identity():
    block = ResidualBlock(8)
    torch.nn.init.zeros_(block.layers[-1].weight)
    torch.nn.init.zeros_(block.layers[-1].bias)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("shape", [(1, 3, 30, 32), (1, 3, 32, 33), (1, 3, 0, 32)])
def test_an_indivisible_image_is_named_with_its_size(shape):
    with pytest.raises(ValueError, match=rf"divisible by 4, got {shape[2]} x {shape[3]}"):
        ConvEncoder(3, 8)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 32, 32, 3)])
def test_the_wrong_layout_is_named_with_its_shape(shape):
    with pytest.raises(ValueError, match=r"images must have shape \(B, 3, height, width\), got"):
        ConvEncoder(3, 8)(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"features must have shape \(B, 8, height, width\), got"):
        ConvDecoder(8, 3)(torch.zeros(shape))


def test_integer_images_and_empty_maps_are_refused():
    with pytest.raises(TypeError, match=r"images must be floating point, got torch\.uint8"):
        ConvEncoder(3, 8)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="height and width of at least 1"):
        ConvDecoder(8, 3)(torch.zeros(1, 8, 0, 4))


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({"channels": 0, "dim": 1}, "channels must be a whole number of at least 1, got 0"),
        ({"channels": 1, "dim": -1}, "dim must be a whole number of at least 1, got -1"),
        ({"channels": 1, "dim": 1, "width": 32.0}, "width must be a whole number of at least 2, got 32.0"),
        ({"channels": True, "dim": 1}, "channels must be a whole number of at least 1, got True"),
    ],
)
def test_an_illegal_size_is_named(sizes, problem):
    for network in (ConvEncoder, ConvDecoder):
        with pytest.raises(ValueError, match=problem):
            network(**sizes)


def test_negative_samplings_are_refused():
    with pytest.raises(ValueError, match="downsamplings must be a whole number of at least 0, got -1"):
        ConvEncoder(1, 1, downsamplings=-1)
    with pytest.raises(ValueError, match="upsamplings must be a whole number of at least 0, got -1"):
        ConvDecoder(1, 1, upsamplings=-1)


def test_an_autoencoder_learns_photographs():
    torch.manual_seed(0)
    images = photo_patches("train", 16)[:256]
    model = torch.nn.Sequential(ConvEncoder(3, 8), ConvDecoder(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    variance = images.var()
    for step in range(60):
        batch = images[64 * (step % 4) : 64 * (step % 4) + 64]
        optimizer.zero_grad()
        mse_loss(model(batch), batch).backward()
        optimizer.step()
    held_out = photo_patches("test", 16)[:256]
    with torch.no_grad():
        assert mse_loss(model(held_out), held_out) < 0.35 * variance
