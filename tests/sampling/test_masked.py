"""Masked decoding: the schedule, what is kept, and what was given stays."""

import math

import pytest
import torch

from impl.sampling.masked import decode_masked, hidden_share


def test_the_schedule_falls_from_all_to_none():
    assert hidden_share(0.0) == 1 and hidden_share(1.0) == pytest.approx(0)
    assert hidden_share(torch.tensor(0.5)).item() == pytest.approx(math.cos(math.pi / 4))


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_as_many_stay_hidden_as_the_schedule_says(steps):
    seen = []

    def predict(codes, hidden):
        seen.append(hidden.sum(dim=1).tolist())
        return [torch.zeros(2, 32, 5), torch.zeros(2, 32, 3)]

    codes = decode_masked(predict, torch.zeros(2, 32, 2).long(), torch.ones(2, 32).bool(), steps)
    expected = [int(32 * math.cos(math.pi * step / (2 * steps))) for step in range(steps)]
    assert seen == [[count, count] for count in expected]
    assert codes.shape == (2, 32, 2) and (codes < torch.tensor([5, 3])).all()


def test_shown_codes_stay_and_fewer_positions_than_steps_are_fine():
    hidden = torch.zeros(1, 6).bool()
    hidden[0, [1, 4]] = True
    given = torch.full((1, 6, 1), 7)
    codes = decode_masked(lambda codes, hidden: [torch.zeros(1, 6, 5)], given, hidden, 8)
    assert (codes[0, [0, 2, 3, 5]] == 7).all() and (codes[0, [1, 4]] < 5).all()


def test_the_surest_are_kept_first():
    """Position i is told with certainty growing with i, in both columns; without noise the order is theirs."""
    logits, kept = torch.zeros(1, 8, 2), []
    logits[0, :, 1] = torch.arange(8) + 1.0

    def predict(codes, hidden):
        kept.append((~hidden[0]).nonzero().flatten().tolist())
        return [logits, logits]

    options = {"temperature": 0, "choice_temperature": 0}
    codes = decode_masked(predict, torch.zeros(1, 8, 2).long(), torch.ones(1, 8).bool(), 4, **options)
    assert kept == [[], [7], [5, 6, 7], [3, 4, 5, 6, 7]]
    assert (codes == 1).all()


def test_codes_told_before_are_seen_by_later_passes():
    """A model that copies its neighbour ends with one value throughout."""

    def predict(codes, hidden):
        logits = torch.zeros(1, 8, 4)
        shown = codes[0, ~hidden[0], 0]
        if len(shown):
            logits[..., shown[0]] = 100.0
        else:
            logits[0, 0, 2] = 100.0
        return [logits]

    options = {"choice_temperature": 0, "generator": torch.Generator().manual_seed(0)}
    codes = decode_masked(predict, torch.zeros(1, 8, 1).long(), torch.ones(1, 8).bool(), 8, **options)
    assert (codes == 2).all()


def test_no_step_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        decode_masked(lambda *_: [], torch.zeros(1, 1, 1).long(), torch.ones(1, 1).bool(), 0)
