"""HC-VQ: a codebook whose shape is held by its persistent homology.

Parts: VQ-VAE's quantizer with its codebook loss (`vq_vae`), merging times and loops of the codewords (`persistence`);
what is new is the penalty on these, and that it fades as latents become as varied as the inputs.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.persistence import death_times, loops, soft_count
from impl.quantizers.vq_vae import VectorQuantizer


class HCVQ(VectorQuantizer):
    """Homology-constrained vector quantization (volkov2022homologyconstrained).

    On top of VQ-VAE's losses the codewords, as points, are penalised by weight * (m - `spacing`)^2 with m the mean
    length at which their parts merge (degree 0), and by (b - `target_loops`)^2 with b the soft number of loops
    (degree 1) where that is asked for. Assignment and gradient path are VQ-VAE's: the penalty moves only the codebook,
    and pushes codes apart to a set spacing. Both terms are multiplied by `gap`, 1 until `refresh` sets it.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K, at least 2.
        commitment_weight: beta.
        spacing: target of the mean merging length.
        spacing_weight: of that penalty.
        target_loops: None for no term of degree 1. It takes about a second a step for K = 64.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a spacing that is not positive.
    """

    gap: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        commitment_weight: float = 0.25,
        spacing: float = 0.5,
        spacing_weight: float = 1e4,
        target_loops: float | None = None,
    ) -> None:
        super().__init__(dim, codebook_size, commitment_weight=commitment_weight)
        if codebook_size < 2:
            raise ValueError(f"codebook_size must be at least 2 to have a spacing, got {codebook_size}.")
        if not spacing > 0:
            raise ValueError(f"spacing must be positive, got {spacing}.")
        self.spacing, self.spacing_weight, self.target_loops = spacing, spacing_weight, target_loops
        self.register_buffer("gap", torch.ones(()))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords, degree 0 alone."""
        return cls(dim, 16)

    @torch.no_grad()
    def refresh(self, latents: Tensor, samples: Tensor) -> None:
        """Set the gap to |1 - H(quantized latents) / H(samples)|; the paper does so every 200 training passes.

        Args:
            latents: (B, ..., D), before quantization; they are quantized here.
            samples: (B, ..., W), what the latents were made of.
        """
        quantized = self.decode(self.encode(latents))
        self.gap.copy_((1 - row_entropy(quantized) / row_entropy(samples)).abs())

    def losses(self, vectors: Tensor, codewords: Tensor) -> dict[str, Tensor]:
        """Return the losses of VQ-VAE and the penalty, which an empty batch does not have."""
        losses, some = super().losses(vectors, codewords), self.gap * (len(vectors) > 0)
        mean = death_times(self.codebook).mean()
        losses["spacing"] = some * self.spacing_weight * (mean - self.spacing).square()
        if self.target_loops is not None:
            losses["loops"] = some * (soft_count(*loops(self.codebook)) - self.target_loops).square()
        return losses


def row_entropy(tensor: Tensor) -> Tensor:
    """Return the mean over samples of the entropy in nats of (B, ..., W): that of the absolute sums over the last axis,
    divided by their total.
    """
    sums = tensor.sum(dim=-1).abs().flatten(1)
    shares = sums / sums.sum(dim=1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)
    return -torch.xlogy(shares, shares).sum(dim=1).mean()
