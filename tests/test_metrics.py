import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from impl import metrics
from impl.data.images import digits, photo_patches

CODE_METRICS = [metrics.codebook_usage, metrics.entropy, metrics.perplexity, metrics.gini]
# Positive levels of the optimal 8-level quantizer of a standard Gaussian; cells end midway between levels.
LLOYD_MAX_8 = [0.24509, 0.75601, 1.34391, 2.15195]


def noisy(images, scale=0.1, seed=0):
    return images + scale * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


# Images


def test_psnr_and_ssim_equal_scikit_image_on_photographs():
    images = photo_patches("test")[:12]
    other = noisy(images)
    pairs = list(zip(other.double().numpy(), images.double().numpy(), strict=True))
    expected = np.mean([peak_signal_noise_ratio(b, a, data_range=2) for a, b in pairs])
    # torchmetrics takes the logarithms of its constants in single precision.
    assert metrics.psnr(other, images) == pytest.approx(expected, rel=1e-6)
    expected = np.mean(
        [
            structural_similarity(
                a + 1, b + 1, data_range=2, gaussian_weights=True, use_sample_covariance=False, channel_axis=0
            )
            for a, b in pairs
        ]
    )
    assert metrics.ssim(other, images) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("side", "window"), [(3, 3), (4, 3), (5, 5), (7, 7), (8, 7), (10, 7)])
def test_ssim_of_small_images_equals_scikit_image_with_the_stated_window(side, window):
    images = photo_patches("test")[:6, :1, :side, :side]
    other = noisy(images)
    expected = np.mean(
        [
            structural_similarity(
                a[0].double().numpy() + 1,
                b[0].double().numpy() + 1,
                win_size=window,
                data_range=2,
                use_sample_covariance=False,
            )
            for a, b in zip(other, images, strict=True)
        ]
    )
    assert metrics.ssim(other, images) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 1, 3, 3), (2, 3, 8, 8), (1, 1, 11, 12), (2, 3, 32, 20)])
def test_equal_images_have_ssim_one_no_error_and_infinite_psnr(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert metrics.ssim(images, images) == pytest.approx(1, abs=1e-12)
    assert metrics.mse(images, images) == 0
    assert metrics.psnr(images, images) == math.inf


def test_psnr_of_a_constant_offset_is_the_closed_form():
    images = digits("test")
    for offset, data_range in [(0.2, 2.0), (0.2, 1.0), (10.0, 255.0)]:
        expected = 20 * math.log10(data_range / offset)
        assert metrics.psnr(images.double() + offset, images.double(), data_range) == pytest.approx(expected)


def test_the_data_range_scales_with_the_images():
    images = photo_patches("test")[:4]
    other = noisy(images)
    as_bytes, other_bytes = (images + 1) * 127.5, (other + 1) * 127.5
    assert metrics.psnr(other_bytes, as_bytes, 255) == pytest.approx(metrics.psnr(other, images), abs=1e-4)
    assert metrics.ssim(other_bytes, as_bytes, 255, 0) == pytest.approx(metrics.ssim(other, images), abs=1e-6)
    assert metrics.ssim(other, images) != pytest.approx(metrics.ssim(other, images, 1.0), abs=1e-3)


def test_more_noise_is_worse_by_every_measure():
    images = photo_patches("test")[:8]
    rows = [noisy(images, scale) for scale in (0.05, 0.1, 0.2)]
    assert [metrics.mse(row, images) for row in rows] == sorted(metrics.mse(row, images) for row in rows)
    for measure in (metrics.psnr, metrics.ssim):
        values = [measure(row, images) for row in rows]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.ssim])
def test_images_that_cannot_be_compared_are_refused(measure):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 1, 8, 8\) and \(2, 1, 8, 9\)"):
        measure(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9))
    with pytest.raises(ValueError, match="must not be empty"):
        measure(torch.zeros(0, 1, 8, 8), torch.zeros(0, 1, 8, 8))


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
def test_a_wrong_layout_range_or_size_is_named(measure):
    with pytest.raises(ValueError, match=r"must have shape \(B, C, H, W\), got \(8, 8\)"):
        measure(torch.zeros(8, 8), torch.zeros(8, 8))
    for data_range in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"data_range must be a positive number"):
            measure(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), data_range)
    with pytest.raises(ValueError, match="at least 3 x 3 for ssim, got 8 x 2"):
        metrics.ssim(torch.zeros(1, 1, 8, 2), torch.zeros(1, 1, 8, 2))


# Codes


@pytest.mark.parametrize("size", [1, 2, 7, 512])
def test_uniform_use_and_a_single_code_have_their_closed_forms(size):
    uniform, single = torch.arange(size).repeat(3), torch.full((2, 5), size - 1)
    for codes, usage, bits, coefficient in [
        (uniform, 1, math.log2(size), 0),
        (single, 1 / size, 0, 1 - 1 / size),
    ]:
        assert metrics.codebook_usage(codes, size).item() == pytest.approx(usage)
        assert metrics.entropy(codes, size).item() == pytest.approx(bits, abs=1e-12)
        assert metrics.perplexity(codes, size).item() == pytest.approx(2**bits)
        assert metrics.gini(codes, size).item() == pytest.approx(coefficient, abs=1e-12)


def test_entropy_of_the_lloyd_max_quantizer_of_8_levels_is_2_82487_bits():
    # Codes in the exact proportions that a Gaussian gives the eight cells.
    edges = [0, *((a + b) / 2 for a, b in itertools.pairwise(LLOYD_MAX_8)), math.inf]
    half = [math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2)) for a, b in itertools.pairwise(edges)]
    shares = [share / 2 for share in half[::-1] + half]
    counts = torch.tensor([round(share * 1_000_000) for share in shares])
    codes = torch.arange(8).repeat_interleave(counts)
    assert metrics.entropy(codes, 8).item() == pytest.approx(2.82487, abs=2e-5)
    assert metrics.perplexity(codes, 8).item() == pytest.approx(7.086, abs=1e-3)
    assert metrics.codebook_usage(codes, 8).item() == 1


def test_uniform_draws_use_what_is_expected_of_them():
    assert 1024 * metrics.expected_usage(1024, 1024) == pytest.approx(647.5, abs=0.1)
    assert metrics.expected_usage(1, 5) == 1
    assert metrics.expected_usage(2**40, 1000) == pytest.approx(1000 / 2**40, rel=1e-6)
    generator = torch.Generator().manual_seed(0)
    measured = [
        metrics.codebook_usage(torch.randint(64, (100,), generator=generator), 64).item() for _ in range(200)
    ]
    assert np.mean(measured) == pytest.approx(metrics.expected_usage(64, 100), abs=0.01)


def test_entropy_from_few_samples_is_too_low_by_the_known_bias():
    generator = torch.Generator().manual_seed(0)
    size, samples = 32, 1000
    draws = [metrics.entropy(torch.randint(size, (samples,), generator=generator), size) for _ in range(300)]
    bias = np.mean(draws) - math.log2(size)
    assert bias == pytest.approx(-(size - 1) / (2 * samples * math.log(2)), rel=0.1)


code_arrays = st.integers(1, 12).flatmap(
    lambda size: st.tuples(st.just(size), st.lists(st.integers(0, size - 1), min_size=1, max_size=60))
)


@settings(max_examples=60, deadline=None)
@given(code_arrays)
def test_code_measures_agree_with_their_definitions(drawn):
    size, listed = drawn
    codes = torch.tensor(listed)
    counts = np.bincount(listed, minlength=size)
    shares = counts / counts.sum()
    differences = np.abs(shares[:, None] - shares[None]).sum() / (2 * size)  # sum |x - y| / (2 K^2 mean)
    assert metrics.code_counts(codes, size).tolist() == counts.tolist()
    assert metrics.codebook_usage(codes, size).item() == pytest.approx((counts > 0).mean())
    assert metrics.entropy(codes, size).item() == pytest.approx(
        -sum(p * math.log2(p) for p in shares if p), abs=1e-12
    )
    assert metrics.gini(codes, size).item() == pytest.approx(differences, abs=1e-12)
    assert 1 - 1e-12 <= metrics.perplexity(codes, size).item() <= len(set(listed)) + 1e-9


@settings(max_examples=40, deadline=None)
@given(code_arrays, st.randoms(use_true_random=False))
def test_code_measures_ignore_order_shape_and_names_of_codes(drawn, random):
    size, listed = drawn
    names = list(range(size))
    random.shuffle(names)
    shuffled = [names[code] for code in listed]
    random.shuffle(shuffled)
    for measure in CODE_METRICS:
        first = measure(torch.tensor(listed), size)
        second = measure(torch.tensor(shuffled, dtype=torch.int32).reshape(1, -1, 1), size)
        assert first.item() == pytest.approx(second.item(), abs=1e-12)


def test_a_tuple_of_sizes_gives_one_number_per_codebook():
    generator = torch.Generator().manual_seed(0)
    sizes = (2, 5, 16)
    codes = torch.stack([torch.randint(size, (4, 6), generator=generator) for size in sizes], -1)
    for measure in CODE_METRICS:
        together = measure(codes, sizes)
        assert together.shape == (3,)
        assert together.tolist() == [measure(codes[..., m], size).item() for m, size in enumerate(sizes)]
        assert measure(codes[..., 0], 2).shape == ()


def test_entropy_of_independent_codebooks_adds_up():
    codes = torch.cartesian_prod(torch.arange(3), torch.tensor([0, 0, 1]), torch.arange(4))
    joint = codes @ torch.tensor([8, 4, 1])
    assert metrics.entropy(codes, (3, 2, 4)).sum().item() == pytest.approx(metrics.entropy(joint, 24).item())


def test_a_codebook_that_no_table_could_hold_is_measured():
    codes = torch.tensor([0, 2**39, 2**40 - 1, 0])
    assert metrics.codebook_usage(codes, 2**40).item() == 3 / 2**40
    assert metrics.entropy(codes, 2**40).item() == pytest.approx(1.5)
    assert metrics.gini(codes, 2**40).item() == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize("measure", [*CODE_METRICS, metrics.code_counts])
def test_bad_codes_are_named(measure):
    with pytest.raises(ValueError, match="codes must be from 0 to 3, got -1"):
        measure(torch.tensor([0, -1]), 4)
    with pytest.raises(ValueError, match="codes must be from 0 to 3, got 4"):
        measure(torch.tensor([0, 4]), 4)
    with pytest.raises(ValueError, match="codes must not be empty"):
        measure(torch.zeros(0, 3, dtype=torch.long), 4)
    for dtype in (torch.float32, torch.bool):
        with pytest.raises(TypeError, match=f"codes must be integers, got {dtype}"):
            measure(torch.zeros(3, dtype=dtype), 4)
    with pytest.raises(ValueError, match="codebook_size must be a whole number of at least 1, got 0"):
        measure(torch.zeros(3, dtype=torch.long), 0)


@pytest.mark.parametrize("measure", CODE_METRICS)
def test_columns_and_sizes_must_match(measure):
    with pytest.raises(ValueError, match=r"codes must have 2 columns, one per codebook, got shape \(3,\)"):
        measure(torch.zeros(3, dtype=torch.long), (4, 4))
    with pytest.raises(ValueError, match="at least one codebook"):
        measure(torch.zeros(3, 0, dtype=torch.long), ())


def test_bits_are_tokens_times_the_sum_of_logarithms():
    assert metrics.bits_per_sample(1024, 64) == 640
    assert metrics.bits_per_sample((8, 5, 5)) == pytest.approx(math.log2(200))
    assert metrics.bits_per_sample((256,) * 4, 16) == 512
    assert metrics.bits_per_sample(1, 100) == 0
    with pytest.raises(ValueError, match="num_tokens must not be negative, got -1"):
        metrics.bits_per_sample(2, -1)
    with pytest.raises(ValueError, match="codebook_size must be a whole number"):
        metrics.bits_per_sample((4, 0))


# Fréchet distance


def with_moments(mean, root, samples=500, seed=0):
    """Features whose sample mean and covariance are exactly `mean` and root @ root.T."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, len(mean), generator=generator, dtype=torch.float64)
    noise -= noise.mean(0)
    basis = torch.linalg.qr(noise).Q * math.sqrt(samples - 1)
    return torch.tensor(mean, dtype=torch.float64) + basis @ torch.tensor(root, dtype=torch.float64).T


def test_frechet_distance_of_gaussians_with_commuting_covariances_is_the_closed_form():
    a = with_moments([0.0, 1.0, 2.0], np.diag([1.0, 2.0, 0.5]))
    b = with_moments([1.0, 1.0, 0.0], np.diag([3.0, 2.0, 0.0]), samples=77, seed=1)
    assert metrics.frechet_distance(a, b) == pytest.approx((1 + 4) + (4 + 0 + 0.25), rel=1e-9)


def test_frechet_distance_agrees_with_the_matrix_root_and_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    rng = np.random.default_rng(0)
    a = with_moments([0.0] * 5, rng.normal(size=(5, 5)))
    b = with_moments([0.3] * 5, rng.normal(size=(5, 5)), seed=1)
    cov_a, cov_b = a.T.cov().numpy(), b.T.cov().numpy()
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = 5 * 0.09 + np.trace(cov_a + cov_b - 2 * root)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    other = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()).item()
    assert metrics.frechet_distance(a, b) == pytest.approx(other, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_frechet_distance_is_symmetric_and_unmoved_by_isometries(count_a, count_b, width, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count_a, width, generator=generator, dtype=torch.float64)
    b = 2 * torch.randn(count_b, width, generator=generator, dtype=torch.float64) + 1
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    distance = metrics.frechet_distance(a, b)
    assert metrics.frechet_distance(b, a) == pytest.approx(distance, rel=1e-5, abs=1e-5)
    assert metrics.frechet_distance(a @ rotation + 3, b @ rotation + 3) == pytest.approx(
        distance, rel=1e-5, abs=1e-5
    )
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert distance >= 0


def test_bad_features_are_named():
    good = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"features_a must have shape \(N, D\) .* got \(1, 3\)"):
        metrics.frechet_distance(good[:1], good)
    with pytest.raises(ValueError, match="same width, got 3 and 2"):
        metrics.frechet_distance(good, good[:, :2])
    with pytest.raises(ValueError, match="features_b must be finite"):
        metrics.frechet_distance(good, good * math.nan)
