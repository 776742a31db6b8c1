"""Training of teachers: small networks whose features stand in for those of large ones that need a download."""

import torch.nn.functional as F
from torch import Tensor, nn


class TeacherTraining(nn.Module):
    """The loss of a teacher: cross-entropy of the class of a sample, named at every position or once.

    Called with a batch of (sample, class) pairs.

    Args:
        teacher: maps samples (B, ...) to features (B, n, S); its `names` maps activated features to logits (B, m, K).
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher
        self.losses: dict[str, Tensor] = {}

    def forward(self, batch: tuple[Tensor, Tensor]) -> "TeacherTraining":
        """Name the classes of samples (B, ...), labelled (B,)."""
        samples, classes = batch
        logits = self.teacher.names(F.elu(self.teacher(samples)))
        labels = classes.repeat_interleave(logits.shape[1])
        self.losses = {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), labels)}
        return self
