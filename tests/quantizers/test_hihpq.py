"""HiHPQ: the hard limit, look-up distances, the three contrasts by hand, and what geometry and hierarchy bring."""

from functools import lru_cache

import pytest
import torch

from impl.data.images import digit_labels, digits
from impl.quantizers import lorentz
from impl.quantizers.hihpq import HyperbolicProductQuantizer, clipped, jitter, neighbour_contrast
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.prototypes import Prototypes
from impl.retrieval import label_precision, mean_average_precision


def data(rows=40, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def make(**options):
    torch.manual_seed(0)
    return HyperbolicProductQuantizer(6, 4, 3, hidden=8, **options)


def distance(quantizer, first, second):
    """Sum over the parts of arcosh(-c <x, y>) / sqrt(c) of two points (M, W + 1), written out."""
    total = 0
    for m, c in enumerate(quantizer.curvature.flatten()):
        x, y = first[m], second[m]
        product = -x[0] * y[0] + (x[1:] * y[1:]).sum()
        total = total + torch.acosh((-c * product).clamp(min=1 + 1e-6)) / c.sqrt()
    return total


def test_with_a_high_temperature_the_soft_point_is_the_nearest_codeword():
    hard = make(temperature=1e6)
    tangents = hard.tangents(data())
    selected = hard.parts(hard.decode(hard.encode(data()))).transpose(0, 1)
    expected = lorentz.exponential(selected, hard.curvature)
    torch.testing.assert_close(hard.soft(tangents), expected, atol=1e-4, rtol=1e-4)


def test_codes_are_the_nearest_by_geodesic():
    quantizer = make(curvature=2.0)
    points = lorentz.exponential(quantizer.tangents(data()), quantizer.curvature)
    table = lorentz.exponential(quantizer.codewords(), quantizer.curvature)
    nearest = lorentz.geodesic_distances(points, table, quantizer.curvature).argmin(dim=2).T
    assert torch.equal(quantizer.encode(data()), nearest)


def test_look_up_distances_are_those_of_the_decoded_items():
    quantizer, queries = make(), data(7, seed=1)
    codes = quantizer.encode(data())
    items = lorentz.exponential(quantizer.parts(quantizer.decode(codes)).transpose(0, 1), quantizer.curvature)
    points = lorentz.exponential(quantizer.tangents(queries), quantizer.curvature)
    found = quantizer.distances(queries, codes)
    for q, n in [(0, 0), (3, 17), (6, 39)]:
        expected = distance(quantizer, points[:, q], items[:, n])
        torch.testing.assert_close(found[q, n], expected, atol=1e-4, rtol=1e-4)


def test_tangent_vectors_are_cut_to_the_radius():
    cut = clipped(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0)
    torch.testing.assert_close(cut, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
    assert make(radius=0.2).tangents(10 * data()).norm(dim=2).max() <= 0.2 + 1e-6


def test_the_contrasts_by_hand():
    quantizer, first, second = make(), data(5), data(5, seed=1)
    clusters = torch.tensor([0, 1, 0, 2, 1])
    level = Prototypes(clusters, data(3, seed=2) / 3)
    losses = quantizer.contrasts(first, second, [level])
    points = quantizer.soft(quantizer.tangents(torch.cat([first, second])))
    between = torch.stack(
        [torch.stack([distance(quantizer, points[:, i], points[:, j]) for j in range(10)]) for i in range(10)]
    )
    similar = (-between / 0.2).exp()
    views = [similar[i, (i + 5) % 10] / (similar[i].sum() - similar[i, i]) for i in range(10)]
    torch.testing.assert_close(losses["views"], -torch.stack(views).log().mean(), atol=1e-3, rtol=1e-3)
    # The first other item of the cluster: 0 finds 2, 1 finds 4, 2 finds 0, 3 is alone, 4 finds 1.
    own = similar[:5, :5]
    pairs = [own[i, j] / (own[i].sum() - own[i, i]) for i, j in ((0, 2), (1, 4), (2, 0), (4, 1))]
    expected = -0.1 * torch.stack(pairs).log().sum() / 5
    torch.testing.assert_close(losses["neighbours"], expected, atol=1e-3, rtol=1e-3)
    centres = lorentz.exponential(quantizer.parts(level.centres).transpose(0, 1), quantizer.curvature)
    to_centres = torch.stack(
        [torch.stack([distance(quantizer, points[:, i], centres[:, c]) for c in range(3)]) for i in range(5)]
    )
    chosen = torch.softmax(-to_centres / 0.2, dim=1)[torch.arange(5), clusters]
    torch.testing.assert_close(losses["prototypes"], -chosen.log().mean(), atol=1e-3, rtol=1e-3)


def test_items_alone_in_their_cluster_have_no_neighbour_loss_and_a_finite_gradient():
    logits = data(3, 3).masked_fill(torch.eye(3, dtype=torch.bool), -torch.inf).requires_grad_()
    loss = neighbour_contrast(logits, torch.arange(3))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0 and torch.isfinite(gradient).all()


def test_curvatures_are_learned_and_stay_positive():
    quantizer = make(levels=(8, 4)).fit(data(200), iterations=20)
    assert (quantizer.curvature > 0).all() and not torch.allclose(quantizer.curvature, torch.ones(3, 1, 1))


def test_a_fit_is_a_function_of_its_seeds():
    codes = [make(levels=(8, 4)).fit(data(200), iterations=20, seed=s).encode(data(200)) for s in (0, 0, 1)]
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])


def test_views_stay_near_their_vectors():
    vectors = data(500)
    view = jitter(vectors, torch.Generator().manual_seed(0))
    near = ((view - vectors).abs() < 0.5).float().mean()
    assert 0.85 < near < 0.97 and not torch.equal(view, vectors)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="curvature must be positive"):
        make(curvature=0.0)
    with pytest.raises(ValueError, match="fit needs at least 100 vectors, got 40"):
        make().fit(data())


@lru_cache
def precision(seed, **options):
    train, test = digits("train").flatten(1), digits("test").flatten(1)
    torch.manual_seed(seed)
    quantizer = HyperbolicProductQuantizer(64, 16, 2, **options).fit(train, 250, seed, recluster=50).eval()
    same = digit_labels("test")[:, None] == digit_labels("train")[None]
    return mean_average_precision(quantizer.distances(test, quantizer.encode(train)), same)


@pytest.mark.claim
def test_the_hierarchy_improves_retrieval():
    """Digits, 8 bits, no labels in training, mean average precision by label: at least 0.04 above views alone."""
    for seed in range(3):
        assert precision(seed) > precision(seed, levels=()) + 0.04


@pytest.mark.claim
def test_hyperbolic_parts_are_no_worse_than_flat_ones():
    """The same network in nearly flat space: 0.01 better at most, on average worse."""
    gains = [precision(seed) - precision(seed, curvature=1e-4) for seed in range(3)]
    assert min(gains) > -0.01 and sum(gains) / 3 > 0.005


@pytest.mark.claim
def test_without_pretrained_features_product_quantization_of_pixels_is_better_here():
    """What was found, on digits: 0.02 to 0.15 better, so the network learns less than the pixels already say."""
    train, test = digits("train").flatten(1), digits("test").flatten(1)
    for seed in range(3):
        pixels = ProductQuantizer(64, 16, 2).fit(train, seed=seed)
        found = label_precision(pixels, train, digit_labels("train"), test, digit_labels("test"))
        assert 0.02 < found - precision(seed) < 0.15
