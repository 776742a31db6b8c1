"""Online optimized product quantization: rotation and codebooks that follow a stream together.

Parts: a rotated quantizer and Procrustes (`procrustes`), running means (`online_pq`), optimized product quantization
for the first batch (`opq`); what is new is that the correlation which decides the rotation is kept and added to.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized
from impl.quantizers.collectives import summed
from impl.quantizers.online_pq import OnlineProductQuantizer
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.procrustes import RotatedQuantizer, best_rotation
from impl.quantizers.product import take_codewords


class OnlineOptimizedProductQuantizer(RotatedQuantizer):
    """Online optimized product quantization, online OPQ (liu2020online).

    A batch X that arrives is rotated, takes its nearest codewords, and moves them as running means. With Y, what its
    codes then decode to in rotated space, A <- A + X' Y, and the rotation becomes the orthogonal R that maximises
    tr(R' A): that which brings all vectors seen so far, which need not be kept, nearest to what they were decoded to.
    Codes of stored vectors do not change; what they decode to follows codewords and rotation.

    `fit` starts rotation, codebooks, counts and A from a first batch. In training mode `forward` is a batch of the
    stream.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        forget: weight of the past, in A and in the counts of the running means, after each batch; above 0, at most 1.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        ValueError: a forget factor out of range.
    """

    correlation: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        forget: float = 1.0,
        commitment_weight: float = 0.25,
    ) -> None:
        options = {"commitment_weight": commitment_weight}
        super().__init__(OnlineProductQuantizer(dim, codebook_size, num_codebooks, **options))
        if not 0 < forget <= 1:
            raise ValueError(f"forget must be above 0 and at most 1, got {forget}.")
        self.forget = forget
        #: A = X' Y of all batches, in float64: what a long stream adds is small beside what is there.
        self.register_buffer("correlation", torch.zeros(dim, dim, dtype=torch.float64))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords that forget a tenth a batch."""
        return cls(dim, 8, 2, forget=0.9)

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation, codebooks, counts and correlation from the first batch (N, D)."""
        sizes = self.inner.codebook_size, self.inner.num_codebooks
        first = OptimizedProductQuantizer(self.dim, *sizes).fit(vectors, iterations, seed)
        self.rotation.copy_(first.rotation)
        self.inner.start(torch.stack([part.codebook for part in first.inner.parts]), self.rotated(vectors))
        self.correlation.zero_()
        self._turn(vectors, self._encode(vectors))

    @torch.no_grad()
    def partial_fit(self, vectors: Tensor) -> Self:
        """Take a batch (N, D) of the stream in.

        Raises:
            ValueError: a wrong width, NaN or Inf.
        """
        vectors = self._finite_vectors(vectors)
        self._discount(vectors)
        self._turn(vectors, self.inner.insert(self.rotated(vectors)))
        return self

    def _discount(self, vectors: Tensor) -> None:
        """Let the past weigh less; a batch (N, D) of no vectors, over all processes, changes nothing."""
        (rows,) = summed(vectors.new_full((), len(vectors)))
        weight = torch.where(rows > 0, self.forget, 1.0)
        self.inner.counts *= weight
        self.correlation *= weight

    def _turn(self, vectors: Tensor, codes: Tensor) -> None:
        """Add X' Y of vectors (N, D) and their codes (N, M), those of all processes, and rotate by the sum."""
        decoded = take_codewords(self.inner.codebooks.double(), codes)
        (batch,) = summed(vectors.double().T @ decoded)
        self.correlation += batch
        self.rotation.copy_(best_rotation(self.correlation))

    def _quantize(self, vectors: Tensor) -> Quantized:
        # A copy: the gradient needs the rotation of this batch, and the buffer changes.
        rotation = self.rotation.to(vectors.dtype, copy=True)
        if self.training:
            self._discount(vectors)
        latents, codes, losses = self.inner._quantize(vectors @ rotation)
        if self.training:
            with torch.no_grad():
                self._turn(vectors.detach(), codes)
        return Quantized(latents @ rotation.T, codes, losses)
