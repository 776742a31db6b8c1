"""LeCAM: a critic that has seen little data is kept from being sure."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.collectives import averaged


class LeCAM(nn.Module):
    """Regularisation of a critic by anchors (Tseng and others, 2021).

    The loss is mean max(0, D(x) - a_f)^2 + mean max(0, a_r - D(x^))^2, where a_r and
    a_f are moving averages of what the critic says of real and of generated samples.

    Args:
        decay: of the averages.
    """

    anchors: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay = decay
        self.register_buffer("anchors", torch.zeros(2))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of logits, of any shape; in training the averages take them in first."""
        if self.training:
            means = averaged(torch.stack([real.detach().mean(), fake.detach().mean()]))
            self.anchors.lerp_(means.to(self.anchors), 1 - self.decay)
        # A copy: the buffer moves before the gradient is taken where a critic judges twice a step.
        anchor_real, anchor_fake = self.anchors.clone()
        return F.relu(real - anchor_fake).square().mean() + F.relu(anchor_real - fake).square().mean()
