"""Sparse CQ: its budget, its start, one soft threshold by hand, its order among the others."""

import pytest
import torch

from impl.benches import mixture
from impl.data.images import digits
from impl.quantizers.additive import product_codebooks
from impl.quantizers.beam import greedy_codes
from impl.quantizers.composite_quantization import CompositeProblem, CompositeQuantizer
from impl.quantizers.iterated_local_search import CrossPenalty
from impl.quantizers.least_squares import normal_equations
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.sparse_composite_quantization import SparseCompositeQuantizer, proximal_step


def data(rows=600, dim=6, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def share(quantizer, vectors):
    """Squared error as a share of the vectors' variance."""
    decoded = quantizer.decode(quantizer.encode(vectors)).detach()
    return float((decoded - vectors).square().mean() / (vectors - vectors.mean(dim=0)).square().mean())


def problem(vectors, codebooks, weight=0.0):
    codes = greedy_codes(vectors, codebooks)
    return CompositeProblem(
        normal_equations(vectors, codes, codebooks.shape[1]), codes, CrossPenalty(weight, 0.0)
    )


@pytest.mark.parametrize("entries", [48, 84, 144])
def test_the_budget_is_kept_and_used(entries):
    codebooks = SparseCompositeQuantizer(6, 8, 3, entries=entries).fit(data(), iterations=5).codebooks
    assert codebooks.count_nonzero() == entries


def test_a_step_is_a_gradient_step_and_a_soft_threshold():
    vectors, codebooks = data(), product_codebooks(data(), 8, 3, 10, 0).double()
    given = problem(vectors, codebooks.float())
    moved, free = proximal_step(codebooks, given, 60), proximal_step(codebooks, given, codebooks.numel())
    flat = codebooks.flatten(0, 1)
    gradient = 2 * (given.equations.counts @ flat - given.equations.sums)
    curvature = 6 * given.equations.counts.diagonal().clamp(min=1)[:, None]
    torch.testing.assert_close(free.flatten(0, 1), flat - gradient / curvature)
    assert moved.count_nonzero() == 60
    # What the price took from each survivor, times the curvature, is the price: one number.
    taken = (free - moved).flatten(0, 1).abs() * curvature
    prices = taken[moved.flatten(0, 1) != 0]
    torch.testing.assert_close(prices, prices[0].expand_as(prices))
    assert (free.flatten(0, 1).abs() * curvature)[moved.flatten(0, 1) == 0].max() <= prices[0] * (1 + 1e-9)


def test_the_step_solves_the_lasso_where_codewords_do_not_meet():
    linear_model = pytest.importorskip("sklearn.linear_model")
    vectors = data(200)
    codebooks = data(8, seed=1)[None].double()
    given = problem(vectors, codebooks.float())
    counts = given.equations.counts.diagonal()
    at_minimum = (given.equations.sums / counts[:, None])[None]
    moved = proximal_step(at_minimum, given, 20)
    price = (2 * counts[:, None] * (at_minimum - moved)[0].abs())[moved[0] != 0][0]
    chosen = torch.nn.functional.one_hot(given.codes[:, 0], 8).double().numpy()
    lasso = linear_model.Lasso(alpha=float(price) / (2 * len(vectors)), fit_intercept=False, tol=1e-10)
    for dimension in range(6):
        solution = lasso.fit(chosen, vectors[:, dimension].double().numpy()).coef_
        torch.testing.assert_close(moved[0, :, dimension], torch.from_numpy(solution), rtol=1e-5, atol=1e-6)


def test_no_step_raises_the_objective_and_the_start_is_a_product():
    class Recording(SparseCompositeQuantizer):
        """Keeps the objective before and after each change of the codebooks."""

        def improved_codebooks(self, codebooks, given):
            found = super().improved_codebooks(codebooks, given)
            values.append((float(given.value(codebooks.double())), float(given.value(found.double()))))
            return found

    values = []
    Recording(6, 8, 3).fit(data(), iterations=8)
    assert len(values) == 8
    assert all(after <= before + 1e-2 for before, after in values)
    product = ProductQuantizer(6, 8, 3).fit(data(), iterations=8)
    assert share(SparseCompositeQuantizer(6, 8, 3).fit(data(), iterations=8), data()) < share(product, data())


def test_with_all_entries_it_is_composite_quantization():
    dense = CompositeQuantizer(6, 8, 3).fit(data(), iterations=8)
    ours = SparseCompositeQuantizer(6, 8, 3, entries=144).fit(data(), iterations=8)
    assert share(ours, data()) == pytest.approx(share(dense, data()), rel=0.05)


@pytest.mark.parametrize("entries", [47, 145])
def test_an_impossible_budget_is_refused(entries):
    with pytest.raises(ValueError, match="entries must be at"):
        SparseCompositeQuantizer(6, 8, 3, entries=entries)


@pytest.mark.claim
@pytest.mark.parametrize("load", [mixture, lambda split: digits(split).flatten(1)])
def test_the_more_entries_the_less_error(load):
    """16 bits: training and held-out error of CQ, SQ2, SQ1 and a product in this order, 1.5 % slack between CQ and
    SQ2; SQ1 at least 3 % below the product at the same number of entries (measured: 5 to 8 % on digits, 12 % on the
    mixture; on patches it does not get away from its start, the product).
    """
    train, test = load("train")[:3000], load("test")
    dim = train.shape[1]
    for seed in range(3):
        makers = [
            CompositeQuantizer(dim, 16, 4),
            SparseCompositeQuantizer(dim, 16, 4, entries=min(16 * dim + dim * dim, 64 * dim)),
            SparseCompositeQuantizer(dim, 16, 4),
            ProductQuantizer(dim, 16, 4),
        ]
        for quantizer in makers:
            quantizer.fit(train, seed=seed)
        for vectors in (train, test):
            dense, second, first, product = (share(quantizer, vectors) for quantizer in makers)
            assert dense < 1.015 * second
            assert second < 0.98 * first
            assert first < 0.97 * product
