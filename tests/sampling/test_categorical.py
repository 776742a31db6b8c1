"""Drawing codes: the kept set is the promised one."""

import pytest
import torch

from impl.sampling.categorical import draw, keep_most_probable


def test_temperature_zero_takes_the_most_probable():
    assert draw(torch.tensor([[0.0, 2.0, 2.0], [3.0, 1.0, 0.0]]), temperature=0).tolist() == [1, 0]


def test_top_k_and_top_p_keep_the_most_probable():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert torch.isfinite(keep_most_probable(logits, top_k=2)).tolist() == [True, True, False, False]
    assert torch.isfinite(keep_most_probable(logits, top_p=0.75)).tolist() == [True, True, False, False]
    assert torch.isfinite(keep_most_probable(logits, top_p=0.81)).tolist() == [True, True, True, False]
    assert torch.isfinite(keep_most_probable(logits, top_p=0.01)).tolist() == [True, False, False, False]
    assert torch.isfinite(keep_most_probable(logits, top_k=9, top_p=1.0)).all()


def test_frequencies_follow_the_logits():
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    codes = draw(probabilities.log().expand(20_000, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(codes.bincount() / 20_000, probabilities, rtol=0, atol=0.015)


def test_a_forbidden_code_is_never_drawn():
    logits = torch.tensor([0.0, -torch.inf, 0.0]).expand(2, 500, 3)
    codes = draw(logits, generator=torch.Generator().manual_seed(0))
    assert codes.shape == (2, 500)
    assert (codes != 1).all()


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        draw(torch.zeros(1, 3), **options)
    with pytest.raises(ValueError, match="allow a code"):
        draw(torch.full((1, 3), -torch.inf))
