"""Competitive quantization: all stages of a residual quantizer learn from the error of the whole code.

Parts: sums of codewords and the residual start (`additive`), beam search (`beam`); what is new is the stochastic update
that moves every codeword of the winning path along the final error.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, residual_codebooks, sum_codewords
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import beam_codes
from impl.quantizers.kmeans import cluster_sums


class CompetitiveQuantizer(AdditiveCodebooks):
    """Competitive quantization, CompQ (ozan2016competitive).

    After residual k-means the vectors are shown in random order. Each is encoded by beam search, and the codewords
    on its path all move by 2 eta_m times the error that the whole sum leaves: a step of stochastic gradient descent on
    |x - sum_m c_m|^2. Layer rates eta_m fall as 1 / (1 + log2 m) and add up to the learning rate, which falls
    by `decay` every epoch. Vectors are shown in small batches: a codeword moves by the mean error of those that chose
    it.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        width: partial sums kept in encoding, here and in training.
        epochs: over the vectors; with 0 this is residual quantization with a beam.
        learning_rate: the sum of the layer rates at the start; from 1 on the error of a single vector need not fall.
        decay: of the rate, each epoch; ten epochs of 0.78 end where 250 of the published 0.99 do.
        batch_size: vectors shown at once; 1 is the method as published.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        width: int = 10,
        epochs: int = 10,
        learning_rate: float = 0.5,
        decay: float = 0.78,
        batch_size: int = 32,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        if not 0 < learning_rate < 1:
            raise ValueError(f"learning_rate must be above 0 and below 1, got {learning_rate}.")
        self.width, self.epochs = (
            positive_integer("width", width),
            positive_integer("epochs", epochs, least=0),
        )
        self.learning_rate, self.decay = learning_rate, decay
        self.batch_size = positive_integer("batch_size", batch_size)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords and a beam of 4."""
        return cls(dim, 8, 3, width=4, epochs=2)

    def layer_rates(self, rate: float) -> Tensor:
        """Return the rates (M,) of the codebooks, whose sum is `rate`."""
        shares = 1 / (1 + torch.arange(1, self.num_codebooks + 1).log2())
        return rate * shares / shares.sum()

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        codebooks = residual_codebooks(vectors, self.codebook_size, self.num_codebooks, iterations, seed)
        generator = torch.Generator().manual_seed(seed)
        for epoch in range(self.epochs):
            rates = self.layer_rates(self.learning_rate * self.decay**epoch).to(vectors)
            order = torch.randperm(len(vectors), generator=generator).to(vectors.device)
            for batch in order.split(self.batch_size):
                compete(vectors[batch], codebooks, rates, self.width)
        self.codebooks.copy_(codebooks)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D) by beam search."""
        return beam_codes(vectors, self.codebooks.detach(), self.width)


def compete(vectors: Tensor, codebooks: Tensor, rates: Tensor, width: int) -> None:
    """Move the winning codewords of codebooks (M, K, D), in place, along the error of vectors (N, D).

    Args:
        vectors: the batch.
        codebooks: all stages.
        rates: (M,), eta of each stage.
        width: of the beam.
    """
    codes = beam_codes(vectors, codebooks, width)
    error = vectors - sum_codewords(codebooks, codes)
    for codebook, column, rate in zip(codebooks, codes.unbind(1), rates, strict=True):
        counts, sums = cluster_sums(error, column, len(codebook))
        codebook += 2 * rate * sums / counts.clamp(min=1)[:, None]
