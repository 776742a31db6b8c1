"""A codebook that latents are assigned to by chance: nearer codewords are likelier.

Parts: squared distances and Gumbel noise (`assignment`), entropy of an assignment (`entropies`), nearest codeword
(`lookup`); what is new is the relaxed draw, an expected commitment, and a reset of the least used code.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import squared_distances, with_gumbel_noise
from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.collectives import agreed
from impl.quantizers.entropies import mean_entropy
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.updates import batch_statistics


class StochasticVQ(Quantizer):
    """Assignment by q(k | z) = softmax_k(-|z - c_k|^2), the quantizer of HQA (williams2020hierarchical).

    Training decodes a Gumbel-softmax draw sum_k y_k c_k, whose gradient reaches latents and codewords by itself; its
    temperature falls linearly from `temperature` to `last_temperature` over `annealing` training passes. The losses
    are the divergence of q from the uniform distribution, log K minus its entropy, and E_q |z - c|^2 over all codes,
    both as means over vectors. Every `reset_every` passes the least used code goes to the most used one, plus noise
    of deviation 0.01, if it was used less than 0.03 times as often.

    In evaluation the code is the likeliest, which is the nearest one; `sample` draws from q.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        divergence_weight: of the divergence from uniform, in nats.
        commitment_weight: of the expected squared distance, summed over dimensions.
        temperature: of the relaxation, at first.
        last_temperature: where it ends.
        annealing: passes until then.
        reset_every: passes between two looks at the usage.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, temperatures that are not positive.
    """

    part_of: ClassVar[str] = "hqa"
    passes: Tensor
    counts: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        divergence_weight: float = 1e-3,
        commitment_weight: float = 1e-3,
        temperature: float = 2 / 3,
        last_temperature: float = 1e-3,
        annealing: int = 1000,
        reset_every: int = 20,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        for name, value in [("temperature", temperature), ("last_temperature", last_temperature)]:
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        self.divergence_weight, self.commitment_weight = divergence_weight, commitment_weight
        self.temperature, self.last_temperature = temperature, last_temperature
        self.annealing = positive_integer("annealing", annealing)
        self.reset_every = positive_integer("reset_every", reset_every)
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(codebook_size))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords whose usage is looked at every second pass."""
        return cls(dim, 16, annealing=10, reset_every=2)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return -|z - c|^2 (N, K) of vectors (N, D): q is their softmax."""
        return -squared_distances(vectors, self.codebook.to(vectors.dtype))

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Draw codes (..., 1) from q for latents (..., D)."""
        vectors = self._finite_vectors(latents)
        codes = with_gumbel_noise(self.logits(vectors)).argmax(dim=1)
        return codes.reshape(*latents.shape[:-1], 1)

    def _quantize(self, vectors: Tensor) -> Quantized:
        if self.training and len(vectors):
            self._reset()
        logits = self.logits(vectors)
        losses = self._losses(logits)
        if not self.training:
            codes = self._encode(vectors)
            return Quantized(self._decode(codes), codes, losses)
        progress = (self.passes / self.annealing).clamp(max=1)
        temperature = self.temperature + (self.last_temperature - self.temperature) * progress
        drawn = torch.softmax(with_gumbel_noise(logits) / temperature.to(logits.dtype), dim=1)
        codes = drawn.detach().argmax(dim=1)
        latents = drawn @ self.codebook.to(vectors.dtype)
        self._count(vectors.detach(), codes)
        return Quantized(latents, codes[:, None], losses)

    def _losses(self, logits: Tensor) -> dict[str, Tensor]:
        rows = max(len(logits), 1)
        divergence = math.log(self.codebook_size) * (len(logits) > 0) - mean_entropy(logits)
        expected = -(torch.softmax(logits, dim=1) * logits).sum() / rows
        return {
            "divergence": self.divergence_weight * divergence,
            "commitment": self.commitment_weight * expected,
        }

    @torch.no_grad()
    def _reset(self) -> None:
        """Now and then, before the table is used, move the least used code."""
        due = (self.passes % self.reset_every == 0) & (self.counts.sum() > 0)
        least, most = self.counts.argmin(), self.counts.argmax()
        moved = self.codebook[most[None]] + agreed(0.01 * torch.randn(1, self.dim).to(self.codebook))
        rare = due & (self.counts.min() < 0.03 * self.counts.max())
        where = rare & (torch.arange(self.codebook_size, device=least.device) == least)
        self.codebook.copy_(torch.where(where[:, None], moved, self.codebook))
        self.counts.mul_(~due)

    @torch.no_grad()
    def _count(self, vectors: Tensor, codes: Tensor) -> None:
        """Count the codes of the joined batch, and the pass."""
        self.counts += batch_statistics(vectors, codes, self.codebook_size)[0].to(self.counts)
        self.passes += 1

    def _encode(self, vectors: Tensor) -> Tensor:
        return nearest_codes(vectors.detach(), self.codebook.detach())[:, None]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
