"""Scores of codes, brought to mean 0 and variance 1 over the batch: batch normalisation that processes share."""

import torch
from torch import Tensor, nn

from impl.quantizers.collectives import totalled


class ScoreNormalization(nn.Module):
    """Batch normalisation of scores (N, M, K), each of the M K columns alone, without scale or shift.

    In training the statistics are those of the joined batch of all processes, and gradients run through them; moving
    averages are kept. Otherwise those averages are used. A batch of no scores changes nothing.

    Args:
        num_codebooks: M.
        codebook_size: K.
        momentum: weight of a new batch in the averages.
        epsilon: added to the variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, num_codebooks: int, codebook_size: int, momentum: float = 0.1, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.register_buffer("mean", torch.zeros(num_codebooks, codebook_size))
        self.register_buffer("variance", torch.ones(num_codebooks, codebook_size))

    def forward(self, scores: Tensor) -> Tensor:
        """Return normalised scores (N, M, K); in training mode keep the averages up."""
        if not self.training or len(scores) == 0:
            return self.apply_averages(scores)
        count = totalled(scores.new_tensor(float(len(scores))))
        mean = totalled(scores.sum(dim=0)) / count
        variance = totalled((scores - mean).square().sum(dim=0)) / count
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            self.variance.lerp_(variance.to(self.variance), self.momentum)
        return (scores - mean) * torch.rsqrt(variance + self.epsilon)

    def apply_averages(self, scores: Tensor) -> Tensor:
        """Return scores (N, M, K) normalised by the moving averages, whatever the mode."""
        return (scores - self.mean) * torch.rsqrt(self.variance + self.epsilon)
