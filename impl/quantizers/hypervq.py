"""HyperVQ: codes are the classes of a logistic regression in hyperbolic space, codewords points on its hyperplanes.

Parts: exponential map and hyperplane logits (`poincare`), Gumbel noise and straight-through on the index
(`assignment`); what is new is the codebook that is read off the hyperplanes.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import one_hot_through, with_gumbel_noise
from impl.quantizers.base import Quantized, Quantizer, positive_integer
from impl.quantizers.poincare import exponential, hyperplane_logits


class HyperVQ(Quantizer):
    """Vector quantization by hyperbolic multinomial logistic regression (goswami2024hypervq).

    A latent h goes to the Poincare ball, x = exp_0(h), its length clipped before. Class k has an orientation z_k and an
    offset r_k; its logit is the signed distance of x to the hyperplane through p_k = exp_0(r_k z_k / |z_k|), times
    2 |z_k|. The code is the class of the largest logit, which is not that of the nearest p_k. There is no table of its
    own: p_k is the codeword, and the decoder sees log_0(p_k) = r_k z_k / |z_k|.

    Training adds Gumbel noise to the logits and takes the largest (Gumbel-softmax, straight-through on the index), so
    the decoder's loss alone trains latents, orientations and offsets. There are no losses of the quantizer's own.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        curvature: c.
        temperature: of the softmax whose gradient the index gets.
        clip: largest length of a latent, in units of 1 / sqrt(c).

    Raises:
        TypeError, ValueError: sizes that are not positive integers, other options that are not positive.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        curvature: float = 1.0,
        temperature: float = 1.0,
        clip: float = 2.0,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        for name, value in [("curvature", curvature), ("temperature", temperature), ("clip", clip)]:
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        self.curvature, self.temperature, self.clip = curvature, temperature, clip
        self.orientations = nn.Parameter(torch.randn(codebook_size, dim) / dim**0.5)
        # All alike and positive: where offsets differ, latents near the origin all belong to the smallest.
        self.offsets = nn.Parameter(torch.full((codebook_size,), curvature**-0.5))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 classes."""
        return cls(dim, 16)

    def codewords(self) -> Tensor:
        """Return log_0 of the points on the hyperplanes, (K, D)."""
        return self.offsets[:, None] * nn.functional.normalize(self.orientations, dim=1)

    def points(self, vectors: Tensor) -> Tensor:
        """Return where latents (N, D) lie in the ball, their length clipped."""
        length = vectors.norm(dim=1, keepdim=True).clamp(min=1e-7)
        limit = self.clip / self.curvature**0.5
        return exponential(vectors * (limit / length).clamp(max=1), self.curvature)

    def logits(self, vectors: Tensor) -> Tensor:
        """Return the logits (N, K) of latents (N, D)."""
        given = self.orientations.to(vectors.dtype), self.offsets.to(vectors.dtype)
        return hyperplane_logits(self.points(vectors), *given, self.curvature)

    def _quantize(self, vectors: Tensor) -> Quantized:
        table = self.codewords().to(vectors.dtype)
        logits = self.logits(vectors)
        drawn = with_gumbel_noise(logits) if self.training else logits
        codes = drawn.detach().argmax(dim=1)
        mix = one_hot_through(torch.softmax(drawn / self.temperature, dim=1), codes) @ table
        # The codeword to the bit, whatever the product rounds.
        latents = table[codes].detach() + (mix - mix.detach())
        return Quantized(latents, codes[:, None], {})

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.logits(vectors.detach()).argmax(dim=1, keepdim=True)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codewords()[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}"
