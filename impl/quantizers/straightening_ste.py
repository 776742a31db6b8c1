"""Affine and synchronized VQ: three remedies for a codebook that falls behind the latents.

Parts: nearest codeword, straight-through gradient, both losses of VQ-VAE (`nearest`); what is new is an affine map that
all codewords share, a codebook step inside the forward pass, and a share of the decoder's gradient for the codewords.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized
from impl.quantizers.nearest import NearestCodeword
from impl.quantizers.updates import batch_statistics


class SynchronizedVQ(NearestCodeword):
    """Affine, alternating and synchronized vector quantization (huh2023straightening).

    Straight-through training drifts because the codewords follow the latents sparsely (only chosen ones move) and late
    (after the step in which the latents have moved on). Three independent remedies:

    - *Affine*: the table is s * c_k + t with s = 1 + a s', t = a t' shared by all codewords; a boosts their learning
      rate. Codes that nothing chooses go along with the mean and the spread of the others.
    - *Alternating*: each training pass first takes a gradient step of size `inner_rate` on mean (sg[z] - c)^2 with the
      codes fixed, so that the latents are pulled to where their codewords are now.
    - *Synchronized*: the codewords get the decoder's gradient too, times nu; straight-through gives it to the latents
      alone.

    With all three at 0 this is VQ-VAE's quantizer with its codebook loss.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta, against 1 for the codebook loss.
        affine_scale: a, 0 for a free table.
        inner_rate: step size of the codebook step in the forward pass, 0 for none.
        sync_weight: nu, 0 for plain straight-through.

    Raises:
        ValueError: a negative option.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment_weight: float = 0.25,
        affine_scale: float = 10.0,
        inner_rate: float = 0.0,
        sync_weight: float = 0.0,
    ) -> None:
        super().__init__(dim, codebook_size, commitment_weight)
        options = {"affine_scale": affine_scale, "inner_rate": inner_rate, "sync_weight": sync_weight}
        for name, value in options.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}.")
        self.affine_scale, self.inner_rate, self.sync_weight = affine_scale, inner_rate, sync_weight
        self.codebook = nn.Parameter(
            torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size)
        )
        # A parameter that nothing reads would stall data-parallel training.
        self.scale = nn.Parameter(torch.zeros(dim), requires_grad=affine_scale > 0)
        self.shift = nn.Parameter(torch.zeros(dim), requires_grad=affine_scale > 0)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords with all three remedies."""
        return cls(dim, 16, affine_scale=2.0, inner_rate=1.0, sync_weight=0.5)

    def codewords(self) -> Tensor:
        """Return the table (K, D) through the shared affine map."""
        return (1 + self.affine_scale * self.scale) * self.codebook + self.affine_scale * self.shift

    def carry(self, vectors: Tensor, codewords: Tensor) -> Tensor:
        """Return the codewords (N, D) with the identity's gradient to vectors (N, D) and nu times it to the table."""
        return super().carry(vectors, codewords) + self.sync_weight * (codewords - codewords.detach())

    def _quantize(self, vectors: Tensor) -> Quantized:
        codes = self.assign(vectors.detach(), self.codewords().detach())
        if self.training and self.inner_rate > 0:
            self._step_codebook(vectors.detach(), codes)
        codewords = self.codewords()[codes].to(vectors.dtype)
        return Quantized(self.carry(vectors, codewords), codes[:, None], self.losses(vectors, codewords))

    @torch.no_grad()
    def _step_codebook(self, vectors: Tensor, codes: Tensor) -> None:
        """Step on mean (z - c)^2 in closed form: the slope in codeword k is 2 (n_k c_k - s_k) / (N D).

        n_k and s_k are count and sum of the latents of code k in the joined batch, which no optimizer would reduce
        in time.
        """
        counts, sums = batch_statistics(vectors, codes, self.codebook_size)
        slope = 2 * (counts[:, None] * self.codewords() - sums) / (counts.sum().clamp(min=1) * self.dim)
        self.codebook -= self.inner_rate * (slope * (1 + self.affine_scale * self.scale)).to(self.codebook)
