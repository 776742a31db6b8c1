"""SQ-VAE: quantization is the posterior of a latent variable model, and its noise falls as the model learns.

Parts: squared distances and Gumbel noise (`assignment`), entropy of an assignment (`entropies`), nearest codeword
(`lookup`); what is new is the learned variance that both the posterior and the losses share. The objective of the whole
autoencoder is in `tokenizers.image.variational`.
"""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import squared_distances, with_gumbel_noise
from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.entropies import mean_entropy
from impl.quantizers.lookup import nearest_codes

#: The variance is held above this, as the authors' code does, so that its inverse stays finite.
LEAST_VARIANCE = 1e-10


class Draw(NamedTuple):
    """A posterior draw: latents (N, D) with gradients, codes (N,), and the mean of sum_k P_k log P_k, a scalar."""

    latents: Tensor
    codes: Tensor
    negative_entropy: Tensor


class GaussianSQ(Quantizer):
    """Stochastic quantization of the Gaussian SQ-VAE with one variance (takida2022sqvae).

    The model puts noise on codewords, p(z | k) = N(c_k, s^2 I), under a uniform prior; the codes of a latent then have
    the posterior P(k | z) = softmax_k(-|z - c_k|^2 / (2 s^2)). Training decodes a Gumbel-softmax draw sum_k y_k c_k
    from it, whose gradient reaches latents, codewords and s^2 by itself: no straight-through, no commitment, no moving
    average. The losses are what the evidence bound charges, in nats a vector:

        "distance"  |z - sum_k y_k c_k|^2 / (2 s^2)
        "entropy"   sum_k P_k log P_k, which is -log K at most noise and 0 at none

    s^2 is learned. A decoder that reconstructs better tolerates less noise, so s^2 falls and the assignment anneals
    itself from uniform to nearest. In evaluation the code is the likeliest, the nearest one.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        variance: s^2 at first.
        temperature_decay: r; the temperature of the relaxed draw is exp(-r t) after t training passes.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a variance that is not positive, a negative decay.
    """

    passes: Tensor

    def __init__(
        self, dim: int, codebook_size: int, variance: float = 1.0, temperature_decay: float = 1e-5
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        if not 0 < variance < math.inf:
            raise ValueError(f"variance must be positive and finite, got {variance}.")
        if not temperature_decay >= 0:
            raise ValueError(f"temperature_decay must be at least 0, got {temperature_decay}.")
        self.temperature_decay = temperature_decay
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        self.log_variance = nn.Parameter(torch.tensor(math.log(variance)))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16, temperature_decay=0.01)

    @property
    def variance(self) -> Tensor:
        """s^2, a scalar with its gradient."""
        return self.log_variance.exp().clamp(min=LEAST_VARIANCE)

    @property
    def temperature(self) -> Tensor:
        """Of the next relaxed draw; held above 1e-3, where it is a codeword to three digits."""
        return torch.exp(-self.temperature_decay * self.passes).clamp(min=1e-3)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return -|z - c|^2 / (2 s^2), (N, K), of vectors (N, D): the posterior is their softmax."""
        distances = squared_distances(vectors, self.codebook.to(vectors.dtype))
        return -distances / (2 * self.variance.to(vectors.dtype))

    def draw(self, vectors: Tensor) -> Draw:
        """Draw from the posterior of vectors (N, D) and count the pass; in evaluation take the likeliest code."""
        logits = self.logits(vectors)
        negative_entropy = -mean_entropy(logits)
        if not self.training:
            codes = self._encode(vectors)
            return Draw(self._decode(codes).to(vectors.dtype), codes[:, 0], negative_entropy)
        drawn = torch.softmax(with_gumbel_noise(logits) / self.temperature.to(logits.dtype), dim=1)
        if len(vectors):
            with torch.no_grad():
                self.passes += 1
        return Draw(drawn @ self.codebook.to(vectors.dtype), drawn.detach().argmax(dim=1), negative_entropy)

    def _quantize(self, vectors: Tensor) -> Quantized:
        latents, codes, negative_entropy = self.draw(vectors)
        distance = (vectors - latents).square().sum() / max(len(vectors), 1)
        losses = {"distance": distance / (2 * self.variance), "entropy": negative_entropy}
        return Quantized(latents, codes[:, None], losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return nearest_codes(vectors.detach(), self.codebook.detach())[:, None]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
