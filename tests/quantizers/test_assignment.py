"""Angles, distances far from the origin, draws that follow the softmax."""

import torch
import torch.nn.functional as F

from impl.quantizers.assignment import (
    cosine_codes,
    inner_product_codes,
    one_hot_through,
    sampled_codes,
    squared_distances,
    uniform_rows,
    with_gumbel_noise,
)


def test_cosine_codes_have_the_smallest_angle():
    torch.manual_seed(0)
    vectors, codewords = torch.randn(100, 5), torch.randn(20, 5) * torch.rand(20, 1)
    similarity = F.cosine_similarity(vectors[:, None], codewords[None], dim=-1)
    assert torch.equal(cosine_codes(vectors, codewords), similarity.argmax(dim=1))
    assert torch.equal(cosine_codes(7 * vectors, codewords), similarity.argmax(dim=1))


def test_distances_and_their_gradient_are_exact_also_far_from_the_origin():
    torch.manual_seed(0)
    vectors, codewords = torch.randn(30, 4), torch.randn(9, 4)
    for offset in (0.0, 1000.0):
        shifted, table = (vectors + offset).requires_grad_(), (codewords + offset).requires_grad_()
        expected = (shifted.detach().double()[:, None] - table.detach().double()[None]).square().sum(dim=-1)
        distances = squared_distances(shifted, table)
        torch.testing.assert_close(distances.detach().double(), expected, rtol=1e-4, atol=1e-4)
        weights = torch.randn(30, 9)
        found = torch.autograd.grad((distances * weights).sum(), (shifted, table))
        difference = shifted.detach()[:, None] - table.detach()[None]
        torch.testing.assert_close(
            found[0], (2 * weights[..., None] * difference).sum(dim=1), rtol=1e-3, atol=1e-2
        )
        torch.testing.assert_close(
            found[1], -(2 * weights[..., None] * difference).sum(dim=0), rtol=1e-3, atol=1e-2
        )


def test_the_largest_inner_product_over_several_blocks():
    torch.manual_seed(0)
    vectors, codewords = torch.randn(300, 6), torch.randn(4096, 6)
    expected = (vectors.double() @ codewords.double().T).argmax(dim=1)
    assert torch.equal(inner_product_codes(vectors, codewords), expected)
    assert len(inner_product_codes(vectors[:0], codewords)) == 0


def test_the_value_is_hard_and_the_gradient_soft():
    torch.manual_seed(0)
    logits = torch.randn(6, 5, requires_grad=True)
    soft = torch.softmax(logits, dim=1)
    carried, weights = one_hot_through(soft, logits.argmax(dim=1)), torch.randn(6, 5)
    assert torch.equal(carried, F.one_hot(logits.argmax(dim=1), 5).float())
    found = torch.autograd.grad((carried * weights).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.autograd.grad((soft * weights).sum(), logits)[0])


def test_gumbel_maxima_are_draws_from_the_softmax():
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    drawn = with_gumbel_noise(logits.expand(40000, 4)).argmax(dim=1)
    expected = torch.softmax(logits, dim=0) * 40000
    statistic = ((drawn.bincount(minlength=4) - expected).square() / expected).sum()
    assert statistic < 16.3  # chi-square with 3 degrees of freedom: 0.1 %


def test_sampled_codes_follow_their_probabilities():
    torch.manual_seed(0)
    probabilities = torch.tensor([[0.0, 0.2, 0.5, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    drawn = sampled_codes(probabilities, 40000)
    assert drawn.shape == (2, 40000) and (drawn[1] == 5).all()
    expected = probabilities[0] * 40000
    counts, possible = drawn[0].bincount(minlength=6), expected > 0
    assert (counts[~possible] == 0).all()
    statistic = ((counts - expected).square() / expected)[possible].sum()
    assert statistic < 13.8  # chi-square with 2 degrees of freedom: 0.1 %
    assert sampled_codes(probabilities[:0], 3).shape == (0, 3)


def test_noise_is_finite_and_follows_the_seed():
    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(1)
    first = uniform_rows(50, 3, like)
    torch.manual_seed(1)
    assert torch.equal(first, uniform_rows(50, 3, like)) and first.dtype == torch.float64
    assert with_gumbel_noise(torch.zeros(1000, 100)).isfinite().all()
