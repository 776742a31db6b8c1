"""Generalized residual VQ: codebooks learned again and again, each on what all the others leave.

Parts: sums of codewords (`additive`), k-means on growing subspaces (`subspace_growth`), beam search (`beam`); what is
new is the loop that takes a codebook out, learns it again from where it was, and encodes anew with the beam.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, left_by_others
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import beam_codes
from impl.quantizers.subspace_growth import grown_codewords


class GeneralizedRVQ(AdditiveCodebooks):
    """Generalized residual vector quantization, GRVQ (liu2017generalized).

    All codebooks start at zero. A sweep takes them in turn: what the other codebooks leave of the vectors is clustered,
    on a growing number of principal axes and from the present codewords, and all vectors are encoded again by beam
    search. The first sweep is residual quantization with its two improvements; the later ones let early codebooks adapt
    to late ones.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        width: partial sums kept in encoding.
        sweeps: over the codebooks; with 1, width 1 and one growth step this is residual quantization.
        growth_steps: widths on which each clustering runs.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        width: int = 10,
        sweeps: int = 8,
        growth_steps: int = 3,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.width, self.sweeps = positive_integer("width", width), positive_integer("sweeps", sweeps)
        self.growth_steps = positive_integer("growth_steps", growth_steps)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords and a beam of 4."""
        return cls(dim, 8, 3, width=4, sweeps=2, growth_steps=2)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        codebooks = vectors.new_zeros(self.codebooks.shape)
        codes = torch.zeros(len(vectors), self.num_codebooks, dtype=torch.int64, device=vectors.device)
        for sweep in range(self.sweeps):
            for index in range(self.num_codebooks):
                targets = left_by_others(vectors, codebooks, codes, index)
                start = codebooks[index] if sweep else self.codebook_size
                codebooks[index] = grown_codewords(targets, start, self.growth_steps, iterations, seed)
                # In the first sweep the later codebooks are still zero: their codes mean nothing and stay 0.
                known = self.num_codebooks if sweep else index + 1
                codes[:, :known] = beam_codes(vectors, codebooks[:known], self.width)
        self.codebooks.copy_(codebooks)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D) by beam search."""
        return beam_codes(vectors, self.codebooks.detach(), self.width)
