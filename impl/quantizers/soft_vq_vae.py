"""Soft VQ-VAE: the latent is a noisy codeword, and the decoder sees the best guess of the clean one.

Parts: distances (`assignment`), straight-through gradient (`gradients`), both losses of VQ-VAE taken to the soft
output; what is new is the assignment, a posterior with a noise scale for each codeword that the latent predicts.
"""

import math
from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import squared_distances
from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.gradients import straight_through

#: Predicted log-scales are held in +-5: beyond, the densities leave float32.
LOG_SCALE_LIMIT = 5.0


class SoftVQ(Quantizer):
    """The Bayesian bottleneck of soft VQ-VAE (wu2020vector).

    The latent z is seen as a codeword under Gaussian noise of scale sigma_k. With sigma_k = exp(s_k) from a linear
    layer on z, and all codewords equally likely before, p(k | z) is in proportion to
    sigma_k^-D exp(-|z - c_k|^2 / (2 sigma_k^2)), and in training the decoder sees q = sum_k p(k | z) c_k, the estimate
    of least mean squared error. The decoder's gradient goes straight through to z; codebook, scales and, through the
    posterior, z learn from mean (sg[z] - q)^2, and z from beta mean (z - sg[q])^2.

    In evaluation, where codes must say it all, the latent is the codeword of the most probable code. The work is after
    representations, not codes: `soft` gives the posterior mean, the one that it evaluates.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        commitment_weight: beta.
        initial_scale: sigma_k before training.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a scale outside [exp(-5), exp(5)].
    """

    def __init__(
        self, dim: int, codebook_size: int, commitment_weight: float = 0.25, initial_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        limit = math.exp(LOG_SCALE_LIMIT)
        if not 1 / limit <= initial_scale <= limit:
            raise ValueError(f"initial_scale must be in [{1 / limit:.4f}, {limit:.1f}], got {initial_scale}.")
        self.commitment_weight = commitment_weight
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        self.log_scales = nn.Linear(dim, codebook_size)
        nn.init.zeros_(self.log_scales.weight)
        nn.init.constant_(self.log_scales.bias, math.log(initial_scale))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    def posterior_logits(self, vectors: Tensor) -> Tensor:
        """Return log p(k | z) up to a constant of z, (N, K), for vectors (N, D)."""
        weight, bias = (part.to(vectors.dtype) for part in (self.log_scales.weight, self.log_scales.bias))
        log_scales = (vectors @ weight.T + bias).clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT)
        distances = squared_distances(vectors, self.codebook)
        return -self.dim * log_scales - distances * torch.exp(-2 * log_scales) / 2

    def soft(self, vectors: Tensor) -> Tensor:
        """Return the posterior mean of the codewords, (N, D), for vectors (N, D)."""
        return torch.softmax(self.posterior_logits(vectors), dim=1) @ self.codebook.to(vectors.dtype)

    def _quantize(self, vectors: Tensor) -> Quantized:
        logits = self.posterior_logits(vectors)
        codes = logits.detach().argmax(dim=1)
        table = self.codebook.to(vectors.dtype)
        output = torch.softmax(logits, dim=1) @ table if self.training else table[codes]
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - output.detach()),
            "codebook": mean_square(vectors.detach() - output),
        }
        return Quantized(straight_through(vectors, output), codes[:, None], losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.posterior_logits(vectors).argmax(dim=1, keepdim=True)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
