"""DPQ (Klein and Wolf): soft meets hard where choices are sure, Gini terms, classification by look-up, its claims."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from impl import metrics
from impl.data.images import digit_labels, digits
from impl.quantizers.adam import adam
from impl.quantizers.dpq_supervised import DeepProductQuantizer, gini_batch, gini_sample
from impl.quantizers.pq import ProductQuantizer
from impl.retrieval import label_precision
from impl.search import LookupIndex


def data(rows=40, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def make(**options):
    torch.manual_seed(0)
    return DeepProductQuantizer(6, 4, 3, num_classes=5, hidden=8, **options)


def test_the_soft_representation_by_hand():
    dpq, vectors = make(), data()
    probabilities, table = dpq.probabilities(vectors), F.normalize(dpq.codebooks, dim=2)
    mixed = sum(probabilities[:, :, k, None] * table[None, :, k] for k in range(4))
    expected = (mixed / mixed.norm(dim=2, keepdim=True)).flatten(1)
    torch.testing.assert_close(dpq.soft(vectors), expected)
    torch.testing.assert_close(probabilities.sum(dim=2), torch.ones(40, 3))


def test_soft_is_hard_and_their_losses_agree_where_choices_are_sure():
    dpq, vectors, labels = make(central_weight=0.0), data(), torch.arange(40) % 5
    with torch.no_grad():
        for head in dpq.heads:
            head.weight *= 1e5
    torch.testing.assert_close(dpq.soft(vectors), dpq(vectors).latents)
    losses = dpq.supervised_losses(vectors, labels, nn.Linear(6, 5), torch.zeros(5, 6))
    torch.testing.assert_close(losses["soft"], losses["hard"])
    torch.testing.assert_close(losses["gini_sample"], torch.tensor(-0.1))


def test_each_part_has_length_one():
    dpq = make()
    lengths = dpq.parts(dpq.decode(dpq.encode(data()))).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_gini_terms_by_hand():
    uniform, sure = (
        torch.full((8, 2, 4), 0.25),
        F.one_hot(torch.arange(8) % 4, 4).float()[:, None].expand(8, 2, 4),
    )
    collapsed = sure[:1].expand(8, 2, 4)
    assert gini_batch(uniform) == gini_batch(sure) == 0.25 and gini_batch(collapsed) == 1
    assert gini_sample(sure) == gini_sample(collapsed) == -1 and gini_sample(uniform) == -0.25


def test_the_hard_branch_has_the_gradient_of_the_mixture():
    dpq, weights = make(), data(40, seed=3)
    probabilities = dpq.probabilities(data()).detach().requires_grad_()
    hard, codes = dpq._hard(probabilities)
    (gradient,) = torch.autograd.grad((hard * weights).sum(), probabilities)
    expected = torch.einsum("nmw,mkw->nmk", dpq.parts(weights), dpq.codewords())
    torch.testing.assert_close(gradient, expected)
    assert torch.equal(hard, dpq.decode(codes))


def test_the_central_loss_by_hand():
    dpq, vectors, labels, centres = make(central_weight=0.3), data(), torch.arange(40) % 5, data(5, seed=4)
    soft, hard = dpq.soft(vectors), dpq.decode(dpq.encode(vectors))
    pulls = [((each - centres[labels]) ** 2).sum(dim=1).mean() for each in (soft, hard)]
    losses = dpq.supervised_losses(vectors, labels, nn.Linear(6, 5), centres)
    torch.testing.assert_close(losses["central"], 0.3 * (pulls[0] + pulls[1]) / 2)


def test_classification_by_look_up_is_the_classifier_on_decoded_codes(monkeypatch):
    seen = []
    original = DeepProductQuantizer.supervised_losses
    monkeypatch.setattr(
        DeepProductQuantizer, "supervised_losses", lambda self, *a: seen.append(a[2]) or original(self, *a)
    )
    dpq = make().fit(data(), torch.arange(40) % 5, iterations=20)
    codes = dpq.encode(data(seed=1))
    assert dpq.class_scores.abs().sum() > 0
    torch.testing.assert_close(dpq.classify(codes), seen[0](dpq.decode(codes)), atol=1e-5, rtol=1e-4)


def test_search_is_asymmetric_soft_queries_against_hard_items():
    dpq, items, queries = (
        make().fit(data(), torch.arange(40) % 5, iterations=20),
        data(seed=1),
        data(7, seed=2),
    )
    distances, rows = LookupIndex(dpq, items).search(dpq.soft(queries).detach(), 40)
    direct = torch.cdist(dpq.soft(queries), dpq.decode(dpq.encode(items))).square()
    torch.testing.assert_close(distances, direct.gather(1, rows), atol=1e-5, rtol=1e-4)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="labels must be one a vector"):
        make().fit(data(), torch.zeros(39, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels must be integers from 0 to 4"):
        make().fit(data(), torch.full((40,), 5))


@pytest.fixture(scope="module")
def split():
    return digits("train").flatten(1), digit_labels("train"), digits("test").flatten(1), digit_labels("test")


def fitted(seed, split, **options):
    torch.manual_seed(seed)
    return DeepProductQuantizer(64, 16, 2, num_classes=10, **options).fit(*split[:2], seed=seed).eval()


def two_stages(seed, split):
    """The same network learned by cross-entropy first, product quantization of its embedding after that."""
    train, labels, test, _ = split
    torch.manual_seed(seed)
    network, classifier = fitted_parts = DeepProductQuantizer(64, 16, 2, 10).network, nn.Linear(64, 10)
    parameters = [parameter for module in fitted_parts for parameter in module.parameters()]
    adam(
        parameters,
        lambda r: F.cross_entropy(classifier(network(train[r])), labels[r]),
        len(train),
        1000,
        seed=seed,
    )
    with torch.no_grad():
        embedded, queries = network(train), network(test)
    return ProductQuantizer(64, 16, 2).fit(embedded, seed=seed), embedded, queries


@pytest.mark.claim
def test_end_to_end_retrieves_better_than_product_quantization(split):
    """Digits, 8 bits, held-out queries, mean average precision by label, three seeds: at least 0.04 above product
    quantization of a network's embedding learned before it, 0.2 above product quantization of the pixels.
    """
    train, labels, test, test_labels = split
    for seed in range(3):
        dpq, (pq, embedded, queries) = fitted(seed, split), two_stages(seed, split)
        ours = label_precision(dpq, train, labels, dpq.soft(test).detach(), test_labels)
        raw = ProductQuantizer(64, 16, 2).fit(train, seed=seed)
        assert ours > label_precision(pq, embedded, labels, queries, test_labels) + 0.04
        assert ours > label_precision(raw, train, labels, test, test_labels) + 0.2


@pytest.mark.claim
def test_the_batch_gini_term_brings_codes_into_use(split):
    """Perplexity of training codes, mean of three seeds and two codebooks of 16: at least 1 higher with the term."""
    found = {
        weight: [
            metrics.perplexity(fitted(seed, split, gini_batch_weight=weight).encode(split[0]), (16, 16))
            .mean()
            .item()
            for seed in range(3)
        ]
        for weight in (0.0, 1.0)
    }
    assert sum(found[1.0]) / 3 > sum(found[0.0]) / 3 + 1
