"""Soft-to-hard vector quantization: soft assignments that harden as training goes on, with their rate as a loss.

Parts: distances (`assignment`), nearest codeword for hard codes (`lookup`); gradients are plain back-propagation, no
estimator; what is new is the controller of the hardness and the soft cross-entropy that stands for the rate.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import squared_distances
from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.collectives import averaged
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.updates import batch_statistics


class SoftToHardVQ(Quantizer):
    """Soft-to-hard vector quantization with its entropy loss and its annealing (agustsson2017softtohard).

    In training a latent z becomes sum_k phi_k c_k with phi = softmax(-sigma |z - c_k|^2): encoder, decoder and
    codewords learn from it by plain back-propagation. In evaluation it is the nearest codeword, the limit for a large
    hardness sigma. The rate loss is the mean cross-entropy -sum_k phi_k log p_k of the soft assignments to the
    frequencies p of the hard ones, held constant: an upper bound of the codes' entropy once sigma is large.

    Sigma follows a controller: `anneal` is told how much worse the model is with hard codes than with soft ones and
    moves sigma in proportion to the excess of that gap over a target that decays to zero. So the relaxation hardens as
    fast as the model can follow. `ImageAutoencoder` calls it in each training step.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        rate_weight: of the rate, in nats a vector.
        hardness: sigma at the start, and at least.
        gain: of the controller.
        horizon: T in the target, first gap * T / (T + t) after t steps.
        warmup: steps before the controller sets in, with t = 0 at its end: in a network that has learned nothing yet
            hard and soft codes are equally bad, and there is no gap to start from.
        decay: of the moving average of the frequencies.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a hardness, gain or horizon that is not positive,
            a warm-up that is no integer of at least 0, a decay outside [0, 1).
    """

    hardness: Tensor
    frequencies: Tensor
    calls: Tensor
    first_gap: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        rate_weight: float = 0.0,
        hardness: float = 1.0,
        gain: float = 100.0,
        horizon: float = 20_000.0,
        warmup: int = 0,
        decay: float = 0.9,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        for name, value in [("hardness", hardness), ("gain", gain), ("horizon", horizon)]:
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.rate_weight, self.gain, self.horizon, self.decay = rate_weight, gain, horizon, decay
        self.least_hardness, self.warmup = float(hardness), positive_integer("warmup", warmup, least=0)
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        self.register_buffer("hardness", torch.tensor(float(hardness)))
        self.register_buffer("frequencies", torch.full((codebook_size,), 1 / codebook_size))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("first_gap", torch.tensor(0.0))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords with a rate loss."""
        return cls(dim, 16, rate_weight=0.1)

    def assignment(self, vectors: Tensor) -> Tensor:
        """Return phi (N, K), the soft assignment of vectors (N, D)."""
        return torch.softmax(-self.hardness * squared_distances(vectors, self.codebook), dim=1)

    def soft(self, vectors: Tensor) -> Tensor:
        """Return the soft codewords (N, D) of vectors (N, D)."""
        return self.assignment(vectors) @ self.codebook.to(vectors.dtype)

    @torch.no_grad()
    def anneal(self, gap: Tensor) -> None:
        """Move the hardness after a training step.

        Args:
            gap: scalar, the model's error with hard codes minus that with soft ones on the same batch.
        """
        gap = averaged(gap.to(self.first_gap))
        elapsed = self.calls - self.warmup
        self.first_gap.copy_(torch.where(elapsed <= 0, gap, self.first_gap))
        target = self.first_gap * self.horizon / (self.horizon + elapsed.clamp(min=0))
        self.calls += 1
        # Through the warm-up gap and target are equal. The bound: at a hardness of zero all latents are one, nothing is
        # learned any more, and no gap would ever call for more; below zero far codewords would be preferred.
        self.hardness.add_(self.gain * (gap - target)).clamp_(min=self.least_hardness)

    def _quantize(self, vectors: Tensor) -> Quantized:
        codes = nearest_codes(vectors.detach(), self.codebook.detach())
        phi, table = self.assignment(vectors), self.codebook.to(vectors.dtype)
        surprise = -self.frequencies.to(vectors.dtype).clamp(min=torch.finfo(torch.float32).tiny).log()
        rate = (phi @ surprise).sum() / max(len(vectors), 1)
        latents = phi @ table if self.training else table[codes]
        if self.training:
            self._count(vectors.detach(), codes)
        return Quantized(latents, codes[:, None], {"rate": self.rate_weight * rate})

    @torch.no_grad()
    def _count(self, vectors: Tensor, codes: Tensor) -> None:
        """Take the hard codes (N,) of a batch into the frequencies."""
        counts, _ = batch_statistics(vectors, codes, self.codebook_size)
        weight = (1 - self.decay) * (counts.sum() > 0)
        self.frequencies.lerp_((counts / counts.sum().clamp(min=1)).to(self.frequencies), weight)

    def _encode(self, vectors: Tensor) -> Tensor:
        return nearest_codes(vectors, self.codebook)[:, None]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes, bits and hardness, for print(module)."""
        sizes = f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
        return f"{sizes}, hardness={float(self.hardness):.3g}"
