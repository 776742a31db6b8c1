"""The shared loop of additive quantization: codebooks by least squares, codes by search, in turn."""

from typing import ClassVar

import torch
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, product_codebooks
from impl.quantizers.beam import greedy_codes
from impl.quantizers.least_squares import least_squares_codebooks

#: In vectors: how many of them pull a codeword to where it was.
RIDGE = 1e-4


class AlternatingCodebooks(AdditiveCodebooks):
    """Sums of codewords (`additive`) whose `fit` starts from a product quantizer and then alternates: all codebooks at
    once from the codes (`least_squares`), codes from the codebooks.

    A method says how codes are searched (`improved_codes` in training, `codes` for new vectors).
    """

    part_of: ClassVar[str] = "the shared loop of additive quantizers"

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        size, generator = self.codebook_size, torch.Generator().manual_seed(seed)
        codebooks = product_codebooks(vectors, size, self.num_codebooks, iterations, seed)
        codes = greedy_codes(vectors, codebooks)
        draws = torch.randint(2**31, (iterations,), generator=generator).tolist()
        for step, draw in enumerate(draws, start=1):
            given = self.relaxed_vectors(vectors, step / iterations, generator)
            codebooks = least_squares_codebooks(given, codes, size, RIDGE, toward=codebooks)
            searched = self.relaxed_codebooks(codebooks, step / iterations, generator)
            codes = self.improved_codes(vectors, searched, codes, draw)
        self.codebooks.copy_(least_squares_codebooks(vectors, codes, size, RIDGE, toward=codebooks))

    def improved_codes(self, vectors: Tensor, codebooks: Tensor, codes: Tensor, seed: int) -> Tensor:
        """Return codes (N, M) of vectors (N, D) for new codebooks (M, K, D), given those (N, M) for the old ones."""
        raise NotImplementedError

    def relaxed_vectors(self, vectors: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Return what the codebooks are fitted to: here the vectors (N, D) themselves.

        Args:
            vectors: (N, D).
            progress: share of the steps that are done when this one is, in (0, 1].
            generator: of the fit.
        """
        return vectors

    def relaxed_codebooks(self, codebooks: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Return the codebooks (M, K, D) that codes are searched with: here those that were fitted."""
        return codebooks
