"""What the contract checks for every quantizer: one sentence that names the argument, what was given, what
is legal.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl.quantizers.base import mean_square, positive_integer
from impl.quantizers.bsq import BSQ
from impl.quantizers.fsq import FSQ
from impl.quantizers.lfq import LFQ
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vq_vae import VectorQuantizer

QUANTIZERS = [VectorQuantizer, ResidualVQ, ProductQuantizer, FSQ, LFQ, BSQ]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    quantizer=st.sampled_from(QUANTIZERS),
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    training=st.booleans(),
)
def test_any_shape_and_type_of_latents(quantizer, shape, dtype, training):
    """Shapes and types come back as they went in; codes decode to legal latents."""
    torch.manual_seed(0)
    tiny = quantizer.tiny().train(training)
    latents = torch.randn(*shape, tiny.dim).to(dtype)
    output = tiny(latents)
    assert output.latents.shape == latents.shape and output.latents.dtype == dtype
    assert output.codes.shape == (*shape, len(tiny.codebook_sizes)) and output.codes.dtype == torch.int64
    assert tiny.decode(output.codes).shape == latents.shape
    assert all(torch.isfinite(loss) for loss in output.losses.values())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(quantizer=st.sampled_from(QUANTIZERS), width=st.integers(0, 20))
def test_any_other_width_is_refused(quantizer, width):
    tiny = quantizer.tiny()
    if width != tiny.dim:
        with pytest.raises(ValueError, match=rf"latents must be {tiny.dim} wide on the last axis, got shape"):
            tiny(torch.zeros(2, width))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_is_wrong_is_said(quantizer):
    tiny = quantizer.tiny()
    latents, codes = torch.zeros(3, tiny.dim), torch.zeros(3, len(tiny.codebook_sizes), dtype=torch.int64)
    latents[1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"latents must be finite, got NaN or Inf in 1 of 3 vectors"):
        tiny(latents)
    with pytest.raises(TypeError, match=r"latents must be floating point, got torch\.int64"):
        tiny(torch.zeros(3, tiny.dim, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"wide on the last axis, got shape \(\)"):
        tiny(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"codes must be integers, got torch\.float32"):
        tiny.decode(codes.float())
    codes[2, 0] = tiny.codebook_sizes[0]
    with pytest.raises(ValueError, match=rf"codes of codebook 0 must keep .* got {tiny.codebook_sizes[0]}"):
        tiny.decode(codes)
    with pytest.raises(ValueError, match=r"codes of codebook 0 must keep .* got -5"):
        tiny.decode(torch.full_like(codes, -5))
    with pytest.raises(ValueError, match="mask must have the latents' shape without the last axis"):
        tiny(torch.zeros(3, tiny.dim), torch.ones(4, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be bool"):
        tiny(torch.zeros(3, tiny.dim), torch.ones(3))


def test_integer_types_of_codes_all_decode():
    tiny = VectorQuantizer.tiny()
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64):
        assert tiny.decode(torch.ones(2, 1, dtype=dtype)).shape == (2, tiny.dim)


def test_bits_are_the_sum_over_codebooks():
    assert ResidualVQ(4, 8, 3).bits == 9 and LFQ(18).bits == 18 and FSQ([4, 4]).bits == 4


def test_positive_integer():
    assert positive_integer("dim", 3) == 3
    for wrong in (2.0, "3", True, None):
        with pytest.raises(TypeError, match="dim must be an integer"):
            positive_integer("dim", wrong)


def test_the_mean_square_of_nothing_is_zero():
    assert mean_square(torch.zeros(0, 4)) == 0
    torch.testing.assert_close(mean_square(torch.tensor([[1.0, 3.0]])), torch.tensor(5.0))
