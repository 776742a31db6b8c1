"""The allocation against brute force and a solver, its constraints, and what it refuses."""

import itertools
import math

import numpy as np
import pytest

from impl.quantizers.bit_allocation import allocate_bits


def shares(parts, seed):
    return sorted(np.random.default_rng(seed).dirichlet([0.7] * parts).tolist(), reverse=True)


def legal(chosen, variances):
    pairs = zip(itertools.pairwise(chosen), itertools.pairwise(variances), strict=True)
    return all(y - after <= math.ceil(math.log2(v / w)) for (y, after), (v, w) in pairs)


@pytest.mark.parametrize("seed", range(6))
def test_as_good_as_the_best_of_all(seed):
    variances = shares(4, seed)
    every = (y for y in itertools.product(range(1, 7), repeat=4) if sum(y) == 12 and legal(y, variances))
    best = max(np.dot(variances, y) for y in every)
    found = allocate_bits(variances, 12, 1, 6)
    assert legal(found, variances)
    assert np.dot(variances, found) == pytest.approx(best, abs=1e-10)


@pytest.mark.parametrize(("parts", "bits"), [(8, 32), (16, 64), (16, 128)])
def test_as_good_as_a_solver(parts, bits):
    optimize = pytest.importorskip("scipy.optimize")
    variances = shares(parts, parts + bits)
    differences = np.eye(parts)[:-1] - np.eye(parts)[1:]
    gaps = [math.ceil(math.log2(a / b)) for a, b in itertools.pairwise(variances)]
    solved = optimize.milp(
        -np.array(variances),
        constraints=[
            optimize.LinearConstraint(np.ones((1, parts)), bits, bits),
            optimize.LinearConstraint(differences, -np.inf, gaps),
        ],
        bounds=optimize.Bounds(1, 12),
        integrality=np.ones(parts),
        options={"mip_rel_gap": 0},
    )
    found = allocate_bits(variances, bits, 1, 12)
    assert sum(found) == bits
    assert min(found) >= 1
    assert max(found) <= 12
    assert legal(found, variances)
    assert found == sorted(found, reverse=True)
    assert np.dot(variances, found) == pytest.approx(-solved.fun, abs=1e-7)


def test_equal_variances_share_evenly():
    assert allocate_bits([3.0] * 4, 12, 1, 8) == [3, 3, 3, 3]
    assert sorted(allocate_bits([3.0] * 4, 13, 1, 8)) == [3, 3, 3, 4]
    assert allocate_bits([0.0] * 4, 8, 0, 8) == [2, 2, 2, 2]


def test_a_part_of_no_variance_gets_the_least():
    assert allocate_bits([1.0, 0.0], 5, 0, 5) == [5, 0]
    assert allocate_bits([1.0, 0.0], 5, 1, 8) == [4, 1]


@pytest.mark.parametrize(
    ("variances", "bits", "message"),
    [
        ([1.0, 2.0], 4, "largest first"),
        ([1.0, -1.0], 4, "not negative"),
        ([], 4, "not negative"),
        ([math.nan], 4, "finite"),
        ([2.0, 1.0], 17, "bits must be 2 to 16"),
        ([2.0, 1.0], 1, "bits must be 2 to 16"),
    ],
)
def test_what_cannot_be_shared_is_refused(variances, bits, message):
    with pytest.raises(ValueError, match=message):
        allocate_bits(variances, bits, 1, 8)
