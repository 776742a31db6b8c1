"""LeCAM by hand: anchors follow in training alone, and only confidence costs."""

import pytest
import torch

from impl.objectives.lecam import LeCAM


def test_anchors_and_loss_by_hand():
    loss = LeCAM(decay=0.9).train()
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.0])
    value = loss(real, fake)
    anchor_real, anchor_fake = 0.1 * 2.0, 0.1 * -1.0
    expected = ((1 - anchor_fake) ** 2 + (3 - anchor_fake) ** 2) / 2
    expected += ((anchor_real + 2) ** 2 + (anchor_real - 0) ** 2) / 2
    assert value.item() == pytest.approx(expected)
    loss.eval()
    assert loss(real, fake).item() == pytest.approx(expected)
    assert loss.anchors.tolist() == pytest.approx([anchor_real, anchor_fake])


def test_a_critic_that_is_not_sure_costs_nothing():
    loss = LeCAM().eval()
    assert loss(torch.tensor([-1.0, 0.0]), torch.tensor([0.5, 2.0])).item() == 0
    real = torch.tensor([2.0], requires_grad=True)
    loss(real, torch.tensor([0.0])).backward()
    assert real.grad.item() == pytest.approx(4.0)


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got 1"):
        LeCAM(1)
