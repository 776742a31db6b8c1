"""How codebooks move: the moving average's closed form, revival without duplicates, restart after a move by
hand.
"""

import pytest
import torch

from impl.quantizers.updates import ExponentialMovingAverage, Revival, batch_statistics


def test_one_worked_step():
    """g = 1/2, N = 1, m = -1, two vectors at -2: m = -2.5, N = 1.5, c = -5/3."""
    average = ExponentialMovingAverage(torch.tensor([[-1.0]]), decay=0.5, smoothing=0.0)
    codeword = average.step(torch.tensor([2.0]), torch.tensor([[-4.0]]))
    torch.testing.assert_close(codeword, torch.tensor([[-5 / 3]]))


def test_closed_form_for_a_constant_assignment():
    generator = torch.Generator().manual_seed(0)
    start, batch = torch.randn(1, 3, generator=generator), torch.randn(6, 3, generator=generator)
    average = ExponentialMovingAverage(start, decay=0.9, smoothing=0.0)
    for _ in range(20):
        codeword = average.step(torch.tensor([6.0]), batch.sum(dim=0, keepdim=True))
    kept = 0.9**20
    expected = (kept * start + (1 - kept) * batch.sum(dim=0)) / (kept + (1 - kept) * 6)
    torch.testing.assert_close(codeword, expected)


def test_the_first_step_does_not_blow_up():
    """From averages of zero, a code that few vectors chose would be thrown far out."""
    codewords, vectors = torch.randn(64, 8) * 0.01, torch.randn(256, 8)
    average = ExponentialMovingAverage(codewords, decay=0.99)
    counts, sums = batch_statistics(vectors, torch.randint(64, (256,)), 64)
    assert average.step(counts, sums).norm(dim=1).max() <= vectors.norm(dim=1).max()


def test_a_restarted_code_does_not_snap_back():
    codewords = torch.zeros(4, 2)
    average = ExponentialMovingAverage(codewords, decay=0.99)
    moved = torch.full((4, 2), 7.0)
    average.restart(moved, torch.tensor([True, False, False, False]))
    after = average.step(torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.zeros(4, 2))
    torch.testing.assert_close(after[0], moved[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_an_illegal_decay_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        ExponentialMovingAverage(torch.zeros(2, 2), decay)


def test_dead_codes_move_to_different_vectors_of_the_batch():
    torch.manual_seed(0)
    revival = Revival(16, threshold=0.5, decay=0.0)
    vectors = torch.randn(64, 3)
    counts = torch.tensor([8.0] * 8 + [0.0] * 8)
    codewords, dead = revival.step(torch.zeros(16, 3), counts, vectors)
    assert dead.tolist() == [False] * 8 + [True] * 8
    assert (codewords[:8] == 0).all()
    matches = (codewords[8:, None] == vectors[None]).all(dim=-1)
    assert matches.any(dim=1).all() and len(matches.long().argmax(dim=1).unique()) == 8


def test_a_revived_code_gets_time_before_it_counts_as_dead():
    revival = Revival(4, threshold=0.5, decay=0.5)
    counts = torch.zeros(4)
    deaths = [revival.step(torch.zeros(4, 2), counts, torch.randn(8, 2))[1].all().item() for _ in range(4)]
    assert True in deaths and deaths[deaths.index(True) + 1] is False
