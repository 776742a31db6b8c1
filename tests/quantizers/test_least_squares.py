"""Codebooks by least squares: counts against the dense matrix, the solution against numpy, batches add up."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from impl.quantizers.additive import sum_codewords
from impl.quantizers.least_squares import least_squares_codebooks, normal_equations, solve

BOOKS, SIZE = 3, 5


def given(rows=200, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, dim, generator=generator) + 2
    return vectors, torch.randint(0, SIZE, (rows, BOOKS), generator=generator)


def indicator(codes):
    """B, (N, MK), dense."""
    return F.one_hot(codes, SIZE).flatten(1).double()


def test_counts_and_sums_are_those_of_the_dense_matrix():
    vectors, codes = given()
    equations, dense = normal_equations(vectors, codes, SIZE), indicator(codes)
    assert torch.equal(equations.counts, dense.T @ dense)
    torch.testing.assert_close(equations.sums, dense.T @ vectors.double())


@pytest.mark.parametrize("toward", [False, True])
def test_the_solution_is_that_of_least_squares_on_the_stacked_system(toward):
    vectors, codes = given()
    anchor = torch.randn(BOOKS, SIZE, 4, generator=torch.Generator().manual_seed(1)) if toward else None
    right = np.zeros((BOOKS * SIZE, 4)) if anchor is None else anchor.flatten(0, 1).double().numpy()
    stacked = np.vstack([indicator(codes).numpy(), np.sqrt(0.1) * np.eye(BOOKS * SIZE)])
    target = np.vstack([vectors.double().numpy(), np.sqrt(0.1) * right])
    expected = np.linalg.lstsq(stacked, target, rcond=None)[0].reshape(BOOKS, SIZE, 4)
    found = solve(normal_equations(vectors, codes, SIZE), BOOKS, 0.1, anchor)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-8, atol=1e-8)


def test_the_error_is_orthogonal_to_the_codes_and_not_above_that_of_other_codebooks():
    vectors, codes = given()
    other = torch.randn(BOOKS, SIZE, 4, generator=torch.Generator().manual_seed(1))
    found = least_squares_codebooks(vectors, codes, SIZE, ridge=1e-6, toward=other)
    left = vectors - sum_codewords(found, codes)
    assert (indicator(codes).T @ left.double()).abs().max() < 1e-3
    assert left.square().sum() < (vectors - sum_codewords(other, codes)).square().sum()


def test_a_codeword_that_no_vector_has_stays_where_it_is_drawn_to():
    vectors, codes = given()
    codes[:, 1] = codes[:, 1].clamp(max=SIZE - 2)
    other = torch.randn(BOOKS, SIZE, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        least_squares_codebooks(vectors, codes, SIZE, toward=other)[1, -1], other[1, -1]
    )
    assert least_squares_codebooks(vectors, codes, SIZE)[1, -1].abs().max() < 1e-6


def test_equations_of_batches_add_up_to_those_of_all_vectors():
    vectors, codes = given()
    whole = normal_equations(vectors, codes, SIZE)
    first, second = (
        normal_equations(vectors[rows], codes[rows], SIZE) for rows in (slice(70), slice(70, None))
    )
    joined = first.plus(second)
    assert torch.equal(joined.counts, whole.counts)
    torch.testing.assert_close(joined.sums, whole.sums)
    assert torch.equal(first.plus(second, forget=0.5).counts, first.counts / 2 + second.counts)
