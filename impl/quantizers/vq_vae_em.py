"""EM VQ-VAE: each latent draws several codewords and moves them all, in proportion to how likely it chose them.

Parts: all of VQ-VAE's quantizer with a moving average (`vq_vae`), draws from a distribution (`assignment`); what is new
is to assign in training by m draws from the posterior.
"""

from typing import Literal, Self

import torch
from torch import Tensor

from impl.quantizers.assignment import sampled_codes, squared_distances
from impl.quantizers.base import Quantized, positive_integer
from impl.quantizers.collectives import summed
from impl.quantizers.kmeans import cluster_sums
from impl.quantizers.vq_vae import VectorQuantizer


class EMVQ(VectorQuantizer):
    """Vector quantization trained by Monte-Carlo expectation maximisation (roy2018theory).

    VQ-VAE with a moving average is online hard EM for a mixture of Gaussians of one fixed variance. The E-step of soft
    EM draws m codes from softmax(-|z - c_k|^2 / T) for each latent; the decoder sees the mean of the drawn codewords,
    through the straight-through gradient, and the commitment loss is taken to it. The M-step is the moving average with
    each draw counted 1/m. As T goes to 0 all draws are the nearest code and the step is that of `VectorQuantizer`.
    In evaluation the code is the nearest one; in training the codes reported are the first draws.

    The paper cuts the latent and gives each part a table of its own, for large codebooks: `ProductOfQuantizers` of
    `impl.quantizers.product` does so with any quantizer.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        num_samples: m.
        temperature: T; 1 in the paper, on squared distances: the latents' width and scale decide how soft that is.
        commitment_weight: beta.
        decay: of the moving average.
        initialization: "uniform" in +-1/K, or "kmeans" of the first training batch.

    Raises:
        TypeError, ValueError: sizes or samples that are not positive integers, a temperature that is not positive.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_samples: int = 10,
        temperature: float = 1.0,
        commitment_weight: float = 0.25,
        decay: float = 0.999,
        initialization: Literal["uniform", "kmeans"] = "uniform",
    ) -> None:
        super().__init__(dim, codebook_size, "ema", commitment_weight, decay, initialization)
        self.num_samples = positive_integer("num_samples", num_samples)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.temperature = temperature

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords started by k-means, 4 draws."""
        return cls(dim, 16, num_samples=4, decay=0.9, initialization="kmeans")

    def posterior(self, vectors: Tensor) -> Tensor:
        """Return the probability (N, K) of each code for vectors (N, D)."""
        return torch.softmax(-squared_distances(vectors, self.codebook) / self.temperature, dim=1)

    def _quantize(self, vectors: Tensor) -> Quantized:
        if not self.training:
            return super()._quantize(vectors)
        self.initialize(vectors)
        drawn = sampled_codes(self.posterior(vectors.detach()), self.num_samples)
        means = self.codebook[drawn].mean(dim=1).to(vectors.dtype)
        output = Quantized(self.carry(vectors, means), drawn[:, :1], self.losses(vectors, means))
        self._learn_from_draws(vectors.detach(), drawn)
        return output

    @torch.no_grad()
    def _learn_from_draws(self, vectors: Tensor, drawn: Tensor) -> None:
        """Move the codebook after a batch (N, D) that drew codes (N, m), each counted 1/m."""
        repeated = vectors.repeat_interleave(self.num_samples, dim=0)
        counts, sums = summed(*cluster_sums(repeated, drawn.flatten(), self.codebook_size))
        self.codebook.copy_(self.average.step(counts / self.num_samples, sums / self.num_samples))
