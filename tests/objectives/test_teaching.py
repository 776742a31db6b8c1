"""The loss of a teacher by hand, named at every position or once."""

import pytest
import torch
from torch import nn

from impl.objectives.teaching import TeacherTraining


class Teacher(nn.Module):
    """Features as given; names at every position, or of their mean."""

    def __init__(self, once):
        super().__init__()
        self.name, self.once = nn.Linear(4, 3), once

    def forward(self, samples):
        return samples

    def names(self, features):
        return self.name(features.mean(dim=1, keepdim=True) if self.once else features)


@pytest.mark.parametrize("once", [False, True])
def test_cross_entropy_of_the_sample_s_class(once):
    torch.manual_seed(0)
    teacher, samples, classes = Teacher(once), torch.randn(2, 5, 4), torch.tensor([2, 0])
    loss = TeacherTraining(teacher)((samples, classes)).losses["cross_entropy"]
    features = torch.where(samples > 0, samples, samples.exp() - 1)
    features = features.mean(dim=1, keepdim=True) if once else features
    logits = teacher.name(features)
    terms = [
        -logits[row, place].log_softmax(dim=0)[classes[row]]
        for row in range(2)
        for place in range(logits.shape[1])
    ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())
