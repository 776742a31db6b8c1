"""Entropy and Jaccard distance against closed forms, loops and hand-made sets."""

import math

import pytest
import torch

from impl.quantizers import distinguishability as module
from impl.quantizers.distinguishability import binary_code_entropy, code_entropy, jaccard_to_neighbours
from impl.quantizers.entities import EntityCodes
from impl.quantizers.random_entity_quantization import random_subsets


def sets(rows, used=None):
    codes = torch.tensor(rows)
    return EntityCodes(codes, torch.ones(codes.shape) if used is None else torch.tensor(used).float())


def random_sets(number=300, size=20, chosen=5):
    codes = random_subsets(number, size, chosen, torch.Generator().manual_seed(0))
    return EntityCodes(codes, torch.ones(codes.shape))


def test_entropies_by_hand():
    codes = sets([[0, 1], [1, 0], [2, 3], [0, 3]])  # the first two are the same set: shares 1/2, 1/4, 1/4
    assert code_entropy(codes) == pytest.approx(1.5)
    assert binary_code_entropy(codes) == pytest.approx(1 + 2 * (0.5 + 0.75 * math.log2(4 / 3)))


def test_order_repetition_and_unused_columns_do_not_count():
    codes = sets([[0, 1, 1], [1, 0, 0], [1, 0, 7]], [[1, 1, 1], [1, 1, 1], [1, 0.5, 0]])
    assert code_entropy(codes) == 0 and binary_code_entropy(codes) == 0
    assert jaccard_to_neighbours(codes, 2) == 0


def test_distinct_codes_have_the_entropy_log2_n():
    codes = random_sets(256, 100, 10)
    assert code_entropy(codes) == pytest.approx(8, abs=1e-9)
    # Each of N shares 1/N adds -(1 - 1/N) log2(1 - 1/N): nearly log2(e) in all.
    assert binary_code_entropy(codes) == pytest.approx(8 + math.log2(math.e), abs=0.01)


@pytest.mark.parametrize("block", [7, 1024])
def test_jaccard_is_that_of_a_loop_over_pairs(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    codes = random_sets(60)
    rows = [set(row) for row in codes.codes.tolist()]
    means = []
    for one, mine in enumerate(rows):
        distance = sorted(
            1 - len(mine & row) / len(mine | row) for other, row in enumerate(rows) if other != one
        )
        means.append(sum(distance[:4]) / 4)
    assert jaccard_to_neighbours(codes, 4) == pytest.approx(sum(means) / 60, abs=1e-6)


def test_random_subsets_have_the_distance_of_the_hypergeometric_law():
    """All others as neighbours: the mean over pairs, 1 - E[i / (2 l - i)] with i shared codewords of l out of n."""
    size, chosen = 20, 5
    ways = [
        math.comb(chosen, i) * math.comb(size - chosen, chosen - i) / math.comb(size, chosen)
        for i in range(6)
    ]
    expected = 1 - sum(way * i / (2 * chosen - i) for i, way in enumerate(ways))
    assert jaccard_to_neighbours(random_sets(), 299) == pytest.approx(expected, rel=0.02)


def test_the_number_of_neighbours_is_checked():
    with pytest.raises(ValueError, match="neighbours must be from 1 to 59, got 60"):
        jaccard_to_neighbours(random_sets(60), 60)
