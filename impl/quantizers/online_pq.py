"""Online product quantization: codebooks that follow a stream while the codes of stored vectors stay as they are.

Parts: a product of tables (`product`), nearest codeword, k-means for the first batch (`kmeans`), straight-through; what
is new is the update: running means with counts that take vectors in and let them go, under a budget.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import Quantized, mean_square, positive_integer
from impl.quantizers.gradients import straight_through
from impl.quantizers.kmeans import kmeans_of_parts
from impl.quantizers.product import ProductCodebooks, nearest_in_parts, take_codewords
from impl.quantizers.updates import batch_statistics


class OnlineProductQuantizer(ProductCodebooks):
    """Online product quantization (xu2018online).

    A vector that arrives takes its nearest codewords, and each codeword moves to the mean of all vectors that it was
    ever given: n <- n + 1, c <- c + (x - c) / n. A vector that leaves (a sliding window) is taken out of that mean:
    n <- n - 1, c <- c - (x - c) / n. Codes of stored vectors do not change; what they decode to follows the codewords.

    A budget limits how many codebooks, or codewords of a codebook, move in one round: those whose means have moved
    furthest. What the others have received waits, and counts when their turn comes.

    `fit` starts codebooks and counts from a first batch, by k-means; without it the first vector of a codeword replaces
    it. In training mode `forward` is a round of the stream.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        codebook_budget: codebooks that move in a round, None for all.
        codeword_budget: codewords of a codebook that move in a round, None for all.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        ValueError: a budget that is larger than what there is.
    """

    counts: Tensor
    waiting_counts: Tensor
    waiting_shifts: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        codebook_budget: int | None = None,
        codeword_budget: int | None = None,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        self.codebooks.requires_grad_(False)
        self.codebook_budget = _budget("codebook_budget", codebook_budget, num_codebooks)
        self.codeword_budget = _budget("codeword_budget", codeword_budget, codebook_size)
        self.commitment_weight = commitment_weight
        #: n: vectors that each codeword is the mean of.
        self.register_buffer("counts", torch.zeros(num_codebooks, codebook_size))
        #: What arrived (minus what left) since the codeword last moved: how many, and the sum of x - c.
        self.register_buffer("waiting_counts", torch.zeros_like(self.counts))
        self.register_buffer("waiting_shifts", torch.zeros_like(self.codebooks))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 16 codewords, of which 8 move in a round."""
        return cls(dim, 16, 2, codeword_budget=8)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Start codebooks by k-means on each part of vectors (N, D), and counts by how many chose each codeword.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        codebooks = kmeans_of_parts(self.parts(vectors), self.codebook_size, iterations, seed)
        return self.start(codebooks, vectors)

    @torch.no_grad()
    def start(self, codebooks: Tensor, vectors: Tensor) -> Self:
        """Start from codebooks (M, K, D / M), and counts of how many of vectors (N, D) choose each codeword."""
        self.codebooks.copy_(codebooks)
        self.counts.copy_(self._statistics(self.parts(vectors), self._encode(vectors))[0])
        self.waiting_counts.zero_()
        self.waiting_shifts.zero_()
        return self

    def partial_fit(self, vectors: Tensor) -> Self:
        """Take vectors (N, D) of the stream in: one round."""
        self.insert(vectors)
        return self

    @torch.no_grad()
    def insert(self, vectors: Tensor) -> Tensor:
        """Take vectors (N, D) in, in one round, and return the codes (N, M) under which they are counted.

        Raises:
            ValueError: a wrong width, NaN or Inf.
        """
        vectors = self._finite_vectors(vectors)
        codes = self._encode(vectors)
        self._receive(vectors, codes)
        return codes

    @torch.no_grad()
    def remove(self, vectors: Tensor, codes: Tensor) -> Self:
        """Take vectors (N, D) out of the means, in one round.

        Args:
            vectors: those that were inserted.
            codes: (N, M), as `insert` returned them then; codes of today may differ.

        Raises:
            ValueError: illegal vectors or codes, or more vectors than a codeword was given.
        """
        vectors = self._finite_vectors(vectors)
        self._check_codes(codes)
        if len(codes) != len(vectors):
            raise ValueError(f"codes must have one row a vector, got {len(codes)} and {len(vectors)}.")
        leaving, _ = self._statistics(self.parts(vectors), codes)
        if bool((self.counts + self.waiting_counts < leaving).any()):
            raise ValueError(
                "vectors and codes must be such that were inserted, got more than a codeword holds."
            )
        self._receive(vectors, codes, sign=-1)
        return self

    def _statistics(self, parts: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Counts (M, K) and sums (M, K, D / M) of parts (N, M, D / M) by code, over all processes."""
        pairs = zip(parts.unbind(1), codes.unbind(1), strict=True)
        found = [batch_statistics(part.contiguous(), column, self.codebook_size) for part, column in pairs]
        counts, sums = zip(*found, strict=True)
        return torch.stack(counts), torch.stack(sums)

    def _receive(self, vectors: Tensor, codes: Tensor, sign: int = 1) -> None:
        counts, sums = self._statistics(self.parts(vectors), codes)
        self.waiting_counts += sign * counts.to(self.waiting_counts)
        self.waiting_shifts += sign * (sums - counts[..., None] * self.codebooks).to(self.waiting_shifts)
        self._move(counts.sum() > 0)

    def _move(self, any_vectors: Tensor) -> None:
        """Move the codewords that the budget allows to the means of what they hold; none in a round of no vectors."""
        counts = self.counts + self.waiting_counts
        # A codeword that holds nothing stays where it is.
        moves = self.waiting_shifts / counts.clamp(min=1)[..., None] * (counts > 0)[..., None]
        lengths = moves.square().sum(dim=2)
        chosen = largest(lengths.sum(dim=1), self.codebook_budget)[:, None] & any_vectors
        chosen = chosen & largest(lengths, self.codeword_budget)
        self.codebooks += moves * chosen[..., None]
        self.counts.copy_(torch.where(chosen, counts, self.counts))
        self.waiting_counts *= ~chosen
        self.waiting_shifts *= ~chosen[..., None]

    def _encode(self, vectors: Tensor) -> Tensor:
        return nearest_in_parts(self.parts(vectors), self.codebooks)

    def _quantize(self, vectors: Tensor) -> Quantized:
        codes = self._encode(vectors.detach())
        codewords = take_codewords(self.codebooks, codes).to(vectors.dtype)
        losses = {"commitment": self.commitment_weight * mean_square(vectors - codewords)}
        quantized = Quantized(straight_through(vectors, codewords), codes, losses)
        if self.training:
            with torch.no_grad():
                self._receive(vectors.detach(), codes)
        return quantized


def largest(values: Tensor, count: int | None) -> Tensor:
    """Return which of the values (..., K) are among the `count` largest of their row; all of them for None."""
    if count is None:
        return torch.ones_like(values, dtype=torch.bool)
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, values.topk(count).indices, True)


def _budget(name: str, value: int | None, most: int) -> int | None:
    if value is not None and positive_integer(name, value) > most:
        raise ValueError(f"{name} must be at most {most}, got {value}.")
    return value
