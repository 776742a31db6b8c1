"""Local search over codes: tables by hand, no sweep raises an error, its ends are minima, brute force, blocks."""

import itertools

import pytest
import torch

from impl.quantizers import iterated_local_search
from impl.quantizers.additive import sum_codewords
from impl.quantizers.iterated_local_search import (
    CrossPenalty,
    cross_terms,
    descend,
    draw_perturbations,
    local_search,
    own_shares,
    pairwise_tables,
)

BOOKS, SIZE, DIM = 4, 6, 5


def codebooks(count=BOOKS, size=SIZE, seed=0):
    return torch.randn(count, size, DIM, generator=torch.Generator().manual_seed(seed))


def data(rows=200, seed=1):
    return 2 * torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))


def some_codes(rows=200, count=BOOKS, size=SIZE, seed=2):
    return torch.randint(0, size, (rows, count), generator=torch.Generator().manual_seed(seed))


def errors(vectors, tables, codes):
    return (vectors - sum_codewords(tables, codes)).square().sum(dim=1)


def cross_by_hand(tables, codes):
    chosen = torch.stack(
        [table[column] for table, column in zip(tables, codes.unbind(1), strict=True)], dim=1
    )
    return chosen.sum(dim=1).square().sum(dim=1) - chosen.square().sum(dim=(1, 2))


def test_shares_and_cross_terms_add_up_to_the_error():
    tables, vectors, codes = codebooks(), data(), some_codes()
    shares, cross = own_shares(vectors, tables), cross_terms(codes, pairwise_tables(tables))
    torch.testing.assert_close(cross, cross_by_hand(tables, codes), rtol=1e-4, atol=1e-4)
    own = sum(shares[m].gather(1, codes[:, m : m + 1])[:, 0] for m in range(BOOKS))
    total = vectors.square().sum(dim=1) + own + cross
    torch.testing.assert_close(total, errors(vectors, tables, codes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("penalty", [None, CrossPenalty(0.1, -1.5)])
def test_a_sweep_raises_no_objective_and_many_end_where_no_single_code_can_improve(penalty):
    tables, vectors, codes = codebooks(), data(), some_codes()
    products, shares = pairwise_tables(tables), own_shares(vectors, tables)

    def objective(trial):
        value = errors(vectors, tables, trial)
        if penalty is not None:
            value = value + penalty.weight * (cross_by_hand(tables, trial) - penalty.target).square()
        return value

    before = objective(codes)
    for _ in range(3):
        codes = descend(codes, shares, products, [2, 0, 3, 1], 1, penalty)
        after = objective(codes)
        assert (after <= before + 1e-3).all()
        before = after
    ended = descend(codes, shares, products, list(range(BOOKS)), 100, penalty)
    for column, code in itertools.product(range(BOOKS), range(SIZE)):
        other = ended.clone()
        other[:, column] = code
        assert (objective(other) >= objective(ended) - 1e-3).all()


def test_several_sweeps_are_one_sweep_after_the_other():
    tables, vectors, codes = codebooks(), data(), some_codes()
    products, shares, order = pairwise_tables(tables), own_shares(vectors, tables), [3, 1, 0, 2]
    step = codes
    for _ in range(5):
        step = descend(step, shares, products, order, 1)
    assert torch.equal(descend(codes, shares, products, order, 5), step)


def test_one_sweep_is_optimal_where_codebooks_do_not_meet():
    tables = torch.zeros(2, 3, 4)
    tables[0, :, :2], tables[1, :, 2:] = codebooks(2, 3)[0, :, :2], codebooks(2, 3)[1, :, :2]
    vectors = data()[:, :4].contiguous()
    found = local_search(vectors, tables, torch.zeros(len(vectors), 2, dtype=torch.int64), 0, 1, 1, 0)
    parts = [torch.cdist(vectors[:, :2], tables[0, :, :2]), torch.cdist(vectors[:, 2:], tables[1, :, 2:])]
    assert torch.equal(found, torch.stack([part.argmin(dim=1) for part in parts], dim=1))


def test_more_rounds_never_raise_an_error():
    tables, vectors, codes = codebooks(), data(), some_codes()
    before = errors(vectors, tables, codes)
    for rounds in (0, 1, 2, 4, 8):
        found = local_search(vectors, tables, codes, rounds, 4, 2, 0)
        after = errors(vectors, tables, found)
        assert (after <= before + 1e-4).all()
        before = after


def test_fifty_rounds_find_the_optimum():
    tables, vectors = codebooks(2, 8), data(500)
    every = torch.tensor(list(itertools.product(range(8), repeat=2)))
    best = torch.cdist(vectors, sum_codewords(tables, every)).square().amin(dim=1)
    start = some_codes(500, 2, 8)
    plain = errors(vectors, tables, local_search(vectors, tables, start, 0, 4, 1, 0))
    searched = errors(vectors, tables, local_search(vectors, tables, start, 50, 4, 1, 0))
    assert (plain < best + 1e-3).float().mean() < 0.95
    assert (searched < best + 1e-3).float().mean() >= 0.99


@pytest.mark.parametrize("block", [1, 100, 2**19])
def test_blocks_and_company_do_not_change_codes(monkeypatch, block):
    tables, vectors, codes = codebooks(), data(), some_codes()
    whole = local_search(vectors, tables, codes, 5, 4, 2, 0)
    monkeypatch.setattr(iterated_local_search, "BLOCK_SCORES", block)
    assert torch.equal(local_search(vectors, tables, codes, 5, 4, 2, 0), whole)
    assert torch.equal(local_search(vectors[50:60], tables, codes[50:60], 5, 4, 2, 0), whole[50:60])


def test_far_from_the_origin_the_codes_are_the_same():
    tables, vectors, codes = codebooks(), data(), some_codes()
    moved = tables.clone()
    moved[0] += 500
    same = local_search(vectors + 500, moved, codes, 5, 4, 2, 0) == local_search(
        vectors, tables, codes, 5, 4, 2, 0
    )
    assert same.float().mean() > 0.99


def test_draws_are_legal_and_repeatable():
    drawn = draw_perturbations(200, BOOKS, SIZE, 3, seed=5)
    for order, positions, offsets in drawn:
        assert sorted(order) == list(range(BOOKS))
        assert len(set(positions.tolist())) == 3
        assert offsets.min() >= 1 and offsets.max() < SIZE
    again = draw_perturbations(200, BOOKS, SIZE, 3, seed=5)
    assert all(torch.equal(one.offsets, other.offsets) for one, other in zip(drawn, again, strict=True))
    assert {int(offset) for one in drawn for offset in one.offsets} == set(range(1, SIZE))


def test_one_codeword_and_no_vectors():
    assert (
        local_search(data(3), codebooks(2, 1), torch.zeros(3, 2, dtype=torch.int64), 3, 4, 2, 0).eq(0).all()
    )
    assert local_search(data(0), codebooks(), some_codes(0), 3, 4, 2, 0).shape == (0, BOOKS)
