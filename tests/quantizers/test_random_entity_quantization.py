"""RandomEQ: subsets and their statistics in closed form, encoders by hand; against what it replaces."""

import math
from functools import cache
from itertools import combinations

import pytest
import torch

import survey
from impl.data.graphs import catalog_graph, torus_graph
from impl.models.graph.link_prediction import LinkPredictor, filtered_ranks, rank_metrics
from impl.quantizers.distinguishability import code_entropy, jaccard_to_neighbours
from impl.quantizers.earl import EARL
from impl.quantizers.entities import EntityCodes
from impl.quantizers.nodepiece import NodePiece
from impl.quantizers.random_entity_quantization import RandomEntityQuantization, random_subsets
from impl.training import train

GRAPH = torus_graph((6, 5))


def test_every_subset_is_equally_likely():
    drawn = random_subsets(30_000, 6, 3, torch.Generator().manual_seed(0))
    subsets = list(combinations(range(6), 3))
    counts = torch.tensor([int((drawn == torch.tensor(subset)).all(dim=1).sum()) for subset in subsets])
    assert counts.sum() == 30_000  # ascending and distinct: each row is one of the 20
    chi_square = ((counts - 1500.0) ** 2 / 1500).sum()
    assert chi_square < 43.8  # the 99.9th percentile for 19 degrees of freedom


def test_all_codewords_or_one():
    generator = torch.Generator().manual_seed(0)
    assert random_subsets(3, 4, 4, generator).tolist() == [[0, 1, 2, 3]] * 3
    assert sorted(random_subsets(400, 4, 1, generator).unique().tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="codewords_per_entity must be at most num_codewords = 4, got 5"):
        random_subsets(3, 4, 5, generator)


def test_codes_know_nothing_of_the_triples():
    other = torus_graph((6, 5), seed=9)
    assert not torch.equal(other.train, GRAPH.train)
    first, second = (RandomEntityQuantization.tiny(graph) for graph in (GRAPH, other))
    assert torch.equal(first.codes, second.codes)
    assert not torch.equal(first.codes, RandomEntityQuantization.tiny(GRAPH, seed=1).codes)
    assert (first.weights == 1).all()


def test_collisions_are_as_rare_as_the_birthday_bound_says():
    generator = torch.Generator().manual_seed(0)
    expected = 500 * 499 / 2 / math.comb(100, 10)
    assert expected < 1e-8 and len(random_subsets(500, 100, 10, generator).unique(dim=0)) == 500
    # A vocabulary small enough to collide: 500 draws from 1,365 subsets, mean and deviation over 40 rounds.
    pairs = []
    for _ in range(40):
        counts = random_subsets(500, 15, 4, generator).unique(dim=0, return_counts=True)[1]
        pairs.append(float((counts * (counts - 1) / 2).sum()))
    expected = 500 * 499 / 2 / math.comb(15, 4)
    assert abs(sum(pairs) / 40 - expected) < 4 * math.sqrt(expected / 40)


def test_the_sum_by_hand_with_random_weights():
    quantizer = RandomEntityQuantization(GRAPH, 8, 12, 4, layers=0, random_weights=True).eval()
    codes, weights = quantizer.encode(torch.tensor(5))
    assert weights.min() >= 0 and weights.max() < 1 and len(weights.unique()) == 4
    first, _, _, last = quantizer.encoder
    pooled = sum(weights[i] * quantizer.table[codes[i]] for i in range(4))
    torch.testing.assert_close(quantizer.decode(EntityCodes(codes, weights)), last(torch.relu(first(pooled))))


def test_the_concatenation_by_hand():
    quantizer = RandomEntityQuantization(GRAPH, 8, 12, 4, "concatenate", layers=0).eval()
    codes, weights = quantizer.encode(torch.tensor(5))
    first, _, _, last = quantizer.encoder
    expected = last(torch.relu(first(torch.cat([quantizer.table[code] for code in codes]))))
    torch.testing.assert_close(quantizer.decode(EntityCodes(codes, weights)), expected)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="pooling must be 'sum' or 'concatenate', got 'mean'"):
        RandomEntityQuantization(GRAPH, 8, 12, 4, "mean")


@cache
def catalog():
    return catalog_graph(survey.load().works)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def score(model, seed, learning_rate):
    predictor = LinkPredictor(model, catalog(), margin=3.0)
    options = {
        "steps": 200,
        "batch_size": 256,
        "seed": seed,
        "learning_rate": learning_rate,
        "progress": False,
    }
    train(predictor, catalog().train, **options)
    return rank_metrics(filtered_ranks(predictor, catalog(), catalog().test))["mrr"]


@pytest.mark.claim
def test_random_codes_beat_those_of_earl_at_equal_parameters():
    """The same encoder, no more parameters: codes that are easier to tell apart complete more triples."""
    for seed in range(3):
        torch.manual_seed(seed)
        matched = EARL(catalog(), 16, 100, seed=seed)
        drawn = RandomEntityQuantization(catalog(), 16, 165, 15, seed=seed)
        assert parameters(drawn) <= parameters(matched)
        assert code_entropy(drawn.codewords()) > code_entropy(matched.codewords()) + 2
        assert (
            jaccard_to_neighbours(drawn.codewords(), 10)
            > jaccard_to_neighbours(matched.codewords(), 10) + 0.2
        )
        assert score(drawn, seed, 0.01) > score(matched, seed, 0.01) + 0.02


@pytest.mark.claim
def test_random_codes_come_near_those_of_nodepiece_at_equal_parameters():
    """Concatenated, as in NodePiece, they lose something: what is near counts there."""
    ratios = []
    for seed in range(3):
        torch.manual_seed(seed)
        matched = NodePiece(catalog(), 16, 40, 8, 4, dropout=0.0, seed=seed)
        words = len(matched.anchors) + len(matched.hops) + len(matched.roles)
        drawn = RandomEntityQuantization(catalog(), 16, words, 12, "concatenate", 0, seed=seed)
        assert parameters(drawn) == parameters(matched)
        assert (
            jaccard_to_neighbours(drawn.codewords(), 10)
            > jaccard_to_neighbours(matched.codewords(), 10) + 0.2
        )
        ratios.append(score(drawn, seed, 5e-3) / score(matched, seed, 5e-3))
    assert 0.65 < sum(ratios) / 3 < 0.95
