"""SCQ: the limit of a large penalty, the loss and its gradients, honest bits."""

from typing import ClassVar

import pytest
import torch

from impl.checks import check_quantizer
from impl.data.images import digits
from impl.networks.perceptron import PerceptronDecoder, PerceptronEncoder
from impl.quantizers.scq import SoftConvexQuantizer
from impl.quantizers.vq_vae import VectorQuantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.training import train


class ExactSCQ(SoftConvexQuantizer):
    """With the programme solved as it is."""

    exempt_laws: ClassVar = {
        **SoftConvexQuantizer.exempt_laws,
        "compiles_without_breaks": "it does, but the unrolled solver takes the compiler 20 seconds",
    }

    @classmethod
    def tiny(cls, dim=8):
        return cls(dim, 8, solver="exact")


@pytest.mark.parametrize("quantizer", [SoftConvexQuantizer, ExactSCQ])
def test_keeps_the_laws(quantizer):
    check_quantizer(quantizer)


@pytest.mark.parametrize("solver", ["relaxed", "exact"])
def test_a_large_penalty_gives_the_nearest_codeword(solver):
    torch.manual_seed(0)
    quantizer = SoftConvexQuantizer(4, 12, penalty=1e6, solver=solver).double().eval()
    latents = torch.randn(40, 4).double()
    output = quantizer(latents)
    nearest = torch.cdist(latents, quantizer.codebook).argmin(dim=1)
    assert torch.equal(output.codes[:, 0], nearest)
    torch.testing.assert_close(output.latents, quantizer.codebook[nearest], atol=1e-4, rtol=0)


def test_the_loss_pulls_latents_and_codewords():
    torch.manual_seed(0)
    quantizer = SoftConvexQuantizer(4, 12, solver="exact", commitment_weight=0.5).double()
    latents = 3 * torch.randn(40, 4).double()
    latents.requires_grad_()
    output = quantizer(latents)
    expected = 0.5 * (output.latents - latents).square().mean()
    torch.testing.assert_close(output.losses["commitment"], expected)
    slopes = torch.autograd.grad(output.losses["commitment"], (latents, quantizer.codebook))
    assert all(slope.abs().sum() > 0 for slope in slopes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": 0}, "penalty must be positive, got 0"),
        ({"solver": "guess"}, "solver must be one of relaxed, exact, got 'guess'"),
    ],
)
def test_illegal_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SoftConvexQuantizer(4, 8, **options)


@pytest.mark.claim
def test_less_error_at_equal_codebook_size_and_more_at_equal_bits():
    """16 codewords, 100 steps: the exact combinations leave less than 0.7 of the nearest codeword's error and less than
    the relaxed ones; the largest weight's codeword alone, which takes as many bits, leaves more error than VQ.
    """
    makers = {
        "nearest": lambda: VectorQuantizer(8, 16, update="ema", initialization="kmeans"),
        "relaxed": lambda: SoftConvexQuantizer(8, 16),
        "exact": lambda: SoftConvexQuantizer(8, 16, solver="exact"),
    }
    images, held_out = digits("train"), digits("test")
    for seed in range(3):
        error, one_code = {}, {}
        for name, make in makers.items():
            torch.manual_seed(seed)
            shape = {"channels": 1, "side": 8, "dim": 8, "tokens": 4}
            model = ImageAutoencoder(make(), PerceptronEncoder(**shape), PerceptronDecoder(**shape))
            train(model, images, steps=100, batch_size=128, seed=seed, progress=False)
            with torch.no_grad():
                error[name] = (model(held_out).reconstruction - held_out).square().mean()
                one_code[name] = (model.decode(model.encode(held_out)) - held_out).square().mean()
        assert error["exact"] < 0.7 * error["nearest"]
        assert error["exact"] < 0.8 * error["relaxed"]
        assert one_code["exact"] > one_code["nearest"]
