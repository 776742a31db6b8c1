"""DPQ (Chen et al.): scores and gradients of both variants by hand, export, sizes, titles classified through codes."""

import math

import pytest
import torch
from torch import nn

from impl.benches import title_accuracy
from impl.checks import check_quantizer
from impl.quantizers.dpq_embedding import CentroidDPQ, CodedEmbedding, CompressedEmbedding, SoftmaxDPQ
from impl.quantizers.pq import ProductQuantizer

VARIANTS = [SoftmaxDPQ, CentroidDPQ]


def data(rows=40, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def make(variant, **options):
    torch.manual_seed(0)
    return variant(6, 4, 3, **options)


def test_laws_of_the_variant_with_centroids():
    check_quantizer(CentroidDPQ)


def test_scores_by_hand():
    softmax, centroids = make(SoftmaxDPQ), make(CentroidDPQ)
    parts = softmax.parts(data())
    products, distances = softmax.scores(parts), centroids.scores(parts)
    for n, m, k in [(0, 0, 0), (7, 1, 3), (39, 2, 2)]:
        part = data()[n, 2 * m : 2 * m + 2]
        torch.testing.assert_close(products[n, m, k], part @ softmax.keys[m, k])
        torch.testing.assert_close(distances[n, m, k], -(part - centroids.codebooks[m, k]).square().sum())


def test_softmax_values_learn_where_they_are_used_and_keys_through_the_softmax():
    dpq, queries, weights = make(SoftmaxDPQ, temperature=0.5), data().requires_grad_(), data(seed=1)
    output = dpq(queries)
    found = torch.autograd.grad((output.latents * weights).sum(), [dpq.codebooks, dpq.keys, queries])
    values = torch.zeros_like(dpq.codebooks)
    for n, row in enumerate(output.codes.tolist()):
        for m, k in enumerate(row):
            values[m, k] += weights[n, 2 * m : 2 * m + 2]
    torch.testing.assert_close(found[0], values)
    # The same gradient by the chain rule: of the soft mixture, at values that are held fixed.
    scores = dpq.normalization(dpq.scores(dpq.parts(queries)))
    soft = torch.einsum("nmk,mkw->nmw", torch.softmax(scores / 0.5, dim=2), dpq.codebooks.detach()).flatten(1)
    expected = torch.autograd.grad((soft * weights).sum(), [dpq.keys, queries])
    torch.testing.assert_close(found[1:], expected)
    assert output.losses == {}


def test_centroids_copy_the_gradient_and_follow_their_own_loss():
    dpq, queries, weights = make(CentroidDPQ), data().requires_grad_(), data(seed=1)
    output = dpq(queries)
    (gradient,) = torch.autograd.grad((output.latents * weights).sum() + output.losses["codebook"], queries)
    torch.testing.assert_close(gradient, weights)
    expected = (queries - output.latents).square().mean()
    torch.testing.assert_close(output.losses["codebook"], expected)


def test_codes_in_training_are_those_of_scores_normalised_over_the_batch():
    for variant in VARIANTS:
        dpq = make(variant)
        scores = dpq.scores(dpq.parts(data()))
        expected = ((scores - scores.mean(dim=0)) / scores.std(dim=0)).argmax(dim=2)
        assert torch.equal(dpq(data()).codes, expected)


def test_export_reproduces_evaluation_exactly():
    symbols = torch.arange(40).reshape(4, 10)
    for variant in VARIANTS:
        table = CompressedEmbedding(40, make(variant))
        table(symbols)  # moves the averages of the normalisation
        exported = table.eval().export()
        assert torch.equal(exported(symbols), table(symbols).latents)
        assert torch.equal(exported.codes[symbols], table(symbols).codes)


def test_sizes():
    exported = CompressedEmbedding(1000, make(SoftmaxDPQ)).export()
    assert exported.bits == 1000 * 3 * 2 + 32 * 4 * 6
    assert exported.compression_ratio == pytest.approx(32 * 1000 * 6 / (1000 * 3 * math.log2(4) + 32 * 4 * 6))


def test_with_a_codeword_for_each_symbol_nothing_is_lost():
    table = CompressedEmbedding(12, CentroidDPQ(6, 12, 1))
    with torch.no_grad():
        table.quantizer.codebooks[0] = table.queries.weight
    assert torch.equal(table.export()(torch.arange(12)), table.queries.weight)


def test_a_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        SoftmaxDPQ(6, 4, 3, temperature=0)


class FullTable(nn.Embedding):
    def __init__(self, words):
        super().__init__(words, 32)
        nn.init.normal_(self.weight, std=32**-0.5)


class QuantizedAfterwards(FullTable):
    """The full table, learned as it is and product-quantized when it is finished."""

    def export(self):
        pq = ProductQuantizer(32, 8, 8).fit(self.weight.detach())
        return CodedEmbedding(pq.encode(self.weight), torch.stack(pq.codeword_tables().codewords))


class LowRankTable(nn.Sequential):
    """One number a word and one vector: the size of 8 codes of 3 bits and their values."""

    def __init__(self, words):
        super().__init__(nn.Embedding(words, 1), nn.Linear(1, 32, bias=False))


def mean_accuracy(make):
    return sum(title_accuracy(make, seed) for seed in range(3)) / 3


@pytest.mark.claim
def test_classifies_better_than_a_low_rank_table_of_the_same_size():
    """Titles of the catalog, 24 bits a word, five folds and three seeds: both variants at least 0.07 above."""
    low = mean_accuracy(LowRankTable)
    for variant in VARIANTS:
        built = CompressedEmbedding(945, variant(32, 8, 8)).export()
        assert built.compression_ratio > 30
        assert abs(built.bits / 32 / (945 + 32) - 1) < 0.05  # the low-rank table's numbers
        assert mean_accuracy(lambda words, v=variant: CompressedEmbedding(words, v(32, 8, 8))) > low + 0.07


@pytest.mark.claim
def test_the_full_table_and_quantization_afterwards_are_not_beaten_here():
    """The paper's "no cost" did not reproduce: the full table is 0.01 to 0.12 better than either variant, and product
    quantization of the finished table, at equal bits, is at least as good as the softmax variant.
    """
    full, afterwards = mean_accuracy(FullTable), mean_accuracy(QuantizedAfterwards)
    found = [mean_accuracy(lambda n, v=v: CompressedEmbedding(n, v(32, 8, 8))) for v in VARIANTS]
    assert all(0.01 < full - accuracy < 0.12 for accuracy in found)
    assert afterwards >= found[0]
