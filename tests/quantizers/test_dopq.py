"""DOPQ: views that stay orthogonal, Procrustes and DPQ-VQ as special cases, search, its claims."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl.benches import mixture, normalised_error
from impl.data.images import digit_labels, digits
from impl.quantizers.adam import adam
from impl.quantizers.dopq import DifferentiableOptimizedProductQuantizer
from impl.quantizers.dpq_embedding import CentroidDPQ, SoftmaxDPQ
from impl.quantizers.kmeans import kmeans
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.procrustes import procrustes
from impl.quantizers.product import take_codewords
from impl.search import LookupIndex, exact_neighbours


def data(rows=300, dim=6, seed=0):
    shape = torch.randn(dim, dim, generator=torch.Generator().manual_seed(7))
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)) @ shape


def straight_through(vectors, codewords, codes, epsilon):
    """What direct loss is compared with: the gradient copied to the vectors, and given to the chosen codewords."""
    return codewords[codes] + (vectors - vectors.detach())


def test_views_stay_orthogonal_and_agree_with_torch():
    quantizer = DifferentiableOptimizedProductQuantizer(6, 8, 3).fit(data(), iterations=20)
    rotation = quantizer.rotation.detach()
    assert (rotation - torch.eye(6)).abs().max() > 0.1
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(6), rtol=0, atol=1e-5)
    linear = nn.utils.parametrizations.orthogonal(nn.Linear(6, 6, bias=False), orthogonal_map="matrix_exp")
    skew = (quantizer.turn - quantizer.turn.T).detach()
    linear.parametrizations.weight.original.data.copy_(skew.tril())
    linear.parametrizations.weight[0].base.copy_(torch.eye(6))
    torch.testing.assert_close(linear.weight.detach(), rotation, rtol=0, atol=1e-5)


def test_for_fixed_codes_training_finds_the_procrustes_rotation(monkeypatch):
    monkeypatch.setattr(
        "impl.quantizers.dopq.direct_loss", lambda vectors, codewords, codes, epsilon: codewords[codes]
    )
    quantizer, vectors = DifferentiableOptimizedProductQuantizer(6, 8, 2), data()
    codes = quantizer.fit(vectors, iterations=0).encode(vectors)
    targets = take_codewords(quantizer.codebooks, codes).detach()

    def loss(rows):
        return (targets[rows] @ quantizer.rotation.T - vectors[rows]).square().mean()

    adam([quantizer.turn], loss, 300, 500, batch_size=300, learning_rate=1e-2)
    torch.testing.assert_close(quantizer.rotation.detach(), procrustes(vectors, targets), rtol=0, atol=1e-3)


def test_unturned_it_chooses_and_decodes_as_dpq_with_centroids(monkeypatch):
    ours, theirs, vectors = (
        DifferentiableOptimizedProductQuantizer(6, 8, 3),
        CentroidDPQ(6, 8, 3).eval(),
        data(),
    )
    theirs.codebooks.data.copy_(ours.codebooks)  # in evaluation with averages 0 and 1 it normalises nothing
    assert torch.equal(ours.encode(vectors), theirs.encode(vectors))
    assert torch.equal(ours(vectors).latents, theirs(vectors).latents)
    monkeypatch.setattr("impl.quantizers.dopq.direct_loss", straight_through)
    gradients = []
    for quantizer in (ours, theirs):
        given = vectors.clone().requires_grad_()
        quantizer(given).latents.sin().sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)


def test_bits_and_bad_arguments():
    assert DifferentiableOptimizedProductQuantizer(6, 8, 3).bits == 9
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        DifferentiableOptimizedProductQuantizer(6, 8, 3, epsilon=0)
    with pytest.raises(ValueError, match="num_codebooks must divide dim"):
        DifferentiableOptimizedProductQuantizer(6, 8, 4)
    with pytest.raises(ValueError, match="at least one"):
        DifferentiableOptimizedProductQuantizer(6, 8, 3).fit(torch.empty(0, 6))


def test_the_scale_of_latents_and_codewords_does_not_matter():
    one, hundred = (
        DifferentiableOptimizedProductQuantizer(6, 8, 2).fit(data() * s, iterations=0) for s in (1, 100)
    )
    gradients = []
    for quantizer, scale in ((one, 1), (hundred, 100)):
        given = (data(seed=1) * scale).requires_grad_()
        (quantizer(given).latents / scale * data(seed=2)).sum().backward()
        gradients.append(given.grad * scale)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_a_single_codeword_passes_no_gradient_and_moves():
    quantizer, given = DifferentiableOptimizedProductQuantizer(6, 1, 2), data().requires_grad_()
    quantizer(given).latents.sum().backward()
    assert not given.grad.any()
    torch.testing.assert_close(quantizer.codebooks.grad, torch.full((2, 1, 3), 300.0))


def test_search_by_tables_is_search_among_decoded_items():
    quantizer = DifferentiableOptimizedProductQuantizer(6, 32, 3).fit(data(), iterations=5)
    items, queries = data(100, seed=2), data(20, seed=3)
    decoded = quantizer.decode(quantizer.encode(items)).detach()
    _, found = LookupIndex(quantizer, items).search(queries, 5)
    expected = exact_neighbours(queries, decoded, 5)
    # Items may share a code: then the order among them is arbitrary, and distances are compared.
    ours, exact = ((queries[:, None] - decoded[rows]).square().sum(dim=2) for rows in (found, expected))
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_views_leave_less_error_than_slices(seed):
    """16 bits, reconstruction of the mixture, equal starts and steps: at least 15 % below the same without turning and
    20 % below DPQ with centroids, and at most 5 % above OPQ, whose closed forms are made for reconstruction.
    """
    train, test = mixture("train")[:4000], mixture("test")
    views, slices = (DifferentiableOptimizedProductQuantizer(32, 16, 4) for _ in range(2))
    slices.turn.requires_grad_(False)
    ours, cut = (normalised_error(each, train, test, seed) for each in (views, slices))
    dpq = CentroidDPQ(32, 16, 4)
    parts = dpq.parts(train).unbind(1)
    dpq.codebooks.data.copy_(torch.stack([kmeans(part, 16, 10, seed) for part in parts]))

    def loss(rows):
        output = dpq(train[rows])
        return (output.latents - train[rows]).square().mean() + output.losses["codebook"]

    adam(dpq.parameters(), loss, 4000, 25 * 32, learning_rate=1e-2, seed=seed)
    decoded = dpq.eval().decode(dpq.encode(test)).detach()
    theirs = float((decoded - test).square().mean() / (test - train.mean(dim=0)).square().mean())
    opq = normalised_error(OptimizedProductQuantizer(32, 16, 4), train, test, seed)
    assert ours < 0.85 * cut, (ours, cut)
    assert ours < 0.8 * theirs, (ours, theirs)
    assert ours < 1.05 * opq, (ours, opq)


def accuracy(make, seed):
    """Share of held-out digits told apart through two codes of 16 values, learned end to end."""
    images, labels = digits("train").flatten(1), digit_labels("train")
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    quantizer, classifier = make(), nn.Linear(8, 10)
    with torch.no_grad():
        parts = quantizer.parts(network(images)).unbind(1)
        quantizer.codebooks.copy_(torch.stack([kmeans(part, 16, 10, seed) for part in parts]))

    def loss(rows):
        output = quantizer(network(images[rows]))
        return F.cross_entropy(classifier(output.latents), labels[rows]) + sum(output.losses.values())

    parameters = [*network.parameters(), *quantizer.parameters(), *classifier.parameters()]
    adam(parameters, loss, len(images), 400, learning_rate=3e-3, seed=seed)
    with torch.no_grad():
        told = classifier(quantizer.eval()(network(digits("test").flatten(1))).latents).argmax(dim=1)
    return float((told == digit_labels("test")).float().mean())


@pytest.mark.claim
@pytest.mark.parametrize("seed", range(3))
def test_direct_loss_learns_codes_for_a_task(monkeypatch, seed):
    """8 bits, digits told apart through their codes, equal starts and steps.

    At least 15 points better than the same with straight-through, and 4 better than DPQ with centroids, which has that
    gradient too (measured: 0.79, 0.84, 0.87 against 0.59, 0.42, 0.52 and 0.52, 0.74, 0.54). Not reproduced: to be
    better than relaxation. DPQ with the softmax tells 0.96 to 0.98 apart.
    """

    def dopq():
        return DifferentiableOptimizedProductQuantizer(8, 16, 2)

    direct = accuracy(dopq, seed)
    centroids, softmax = (accuracy(lambda cls=cls: cls(8, 16, 2), seed) for cls in (CentroidDPQ, SoftmaxDPQ))
    monkeypatch.setattr("impl.quantizers.dopq.direct_loss", straight_through)
    straight = accuracy(dopq, seed)
    assert direct > straight + 0.15, (direct, straight)
    assert direct > centroids + 0.04, (direct, centroids)
    assert softmax > direct + 0.04, (softmax, direct)
