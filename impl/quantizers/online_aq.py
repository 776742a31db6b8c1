"""Online additive quantization: codebooks that follow a stream, from sums over all that has passed.

Parts: the loop that starts it on a first batch (`alternating`), the normal equations (`least_squares`), the beam
(`any_order_beam`); what is new is that the equations are kept and added to, and the random blocks of the beam.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.additive import sum_codewords
from impl.quantizers.alternating import RIDGE, AlternatingCodebooks
from impl.quantizers.any_order_beam import any_order_beam
from impl.quantizers.base import Quantized, positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.collectives import summed
from impl.quantizers.least_squares import NormalEquations, normal_equations, solve


class OnlineAdditiveQuantizer(AlternatingCodebooks):
    """Online additive quantization (liu2021online).

    A batch that arrives is encoded with the present codebooks and added to the normal equations B'B and B'X of all
    that came before; the codebooks then become the least-squares solution of the whole past, which need not be kept.
    `forget` below 1 discounts the past by that factor a batch, for streams that drift. Codes of stored vectors stay as
    they are; what they decode to follows the codebooks.

    Encoding is a randomised block beam search: a random block of the codebooks is released and searched again by a
    beam, the other codes held; what is better is kept.

    `fit` starts codebooks and equations from a first batch. In training mode `forward` is a batch of the stream.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        forget: weight of the past after each batch, above 0 and at most 1.
        block: codebooks released at once, at most M; None for half of them.
        rounds: blocks released for a vector; with `block` M and one round this is the full beam.
        width: partial sums kept in the beam.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        ValueError: a forget factor or a block out of range.
    """

    counts: Tensor
    sums: Tensor
    origin: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        forget: float = 1.0,
        block: int | None = None,
        rounds: int = 6,
        width: int = 8,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        if not 0 < forget <= 1:
            raise ValueError(f"forget must be above 0 and at most 1, got {forget}.")
        block = (num_codebooks + 1) // 2 if block is None else positive_integer("block", block)
        if block > num_codebooks:
            raise ValueError(f"block must be at most num_codebooks, {num_codebooks}, got {block}.")
        self.forget, self.block = forget, block
        self.rounds, self.width = positive_integer("rounds", rounds), positive_integer("width", width)
        self.codebooks.requires_grad_(False)
        total = num_codebooks * codebook_size
        self.register_buffer("counts", torch.zeros(total, total, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(total, dim, dtype=torch.float64))
        #: Where the ridge pulls: the codebooks at the start of the stream.
        self.register_buffer("origin", self.codebooks.detach().clone())

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords."""
        return cls(dim, 8, 3, forget=0.9, rounds=2, width=4)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set codebooks and equations from the first batch (N, D)."""
        super().learn_codebooks(vectors, iterations, seed)
        self.origin.copy_(self.codebooks)
        self.counts.zero_()
        self.sums.zero_()
        self.receive(vectors, self._encode(vectors))

    @torch.no_grad()
    def partial_fit(self, vectors: Tensor) -> Self:
        """Take a batch (N, D) of the stream in.

        Raises:
            ValueError: a wrong width, NaN or Inf.
        """
        vectors = self._finite_vectors(vectors)
        self.receive(vectors, self._encode(vectors))
        return self

    @torch.no_grad()
    def receive(self, vectors: Tensor, codes: Tensor) -> None:
        """Add vectors (N, D) under codes (N, M), those of all processes, to the equations and solve them."""
        batch = NormalEquations(*summed(*normal_equations(vectors, codes, self.codebook_size)))
        past = NormalEquations(self.counts, self.sums)
        joined = past.plus(batch, self.forget)
        codebooks = solve(joined, self.num_codebooks, RIDGE, self.origin)
        arrived = batch.counts.sum() > 0  # a batch of no vectors changes nothing
        for old, new in zip((*past, self.codebooks), (*joined, codebooks), strict=True):
            old.copy_(torch.where(arrived, new.to(old.dtype), old))

    def improved_codes(self, vectors: Tensor, codebooks: Tensor, codes: Tensor, seed: int) -> Tensor:
        """Return codes (N, M) of vectors (N, D), none of larger error than those given."""
        return block_beam(vectors, codebooks, codes, self.block, self.rounds, self.width, seed)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedy ones, improved block by block."""
        codebooks = self.codebooks.detach().to(vectors.dtype)
        start = greedy_codes(vectors, codebooks)
        return block_beam(vectors, codebooks, start, self.block, self.rounds, self.width, 0)

    def _quantize(self, vectors: Tensor) -> Quantized:
        quantized = super()._quantize(vectors)
        if self.training:
            self.receive(vectors.detach(), quantized.codes)
        losses = {"commitment": quantized.losses["commitment"]}  # the codebooks follow no gradient
        return quantized._replace(losses=losses)


@torch.library.custom_op("codebook::block_beam", mutates_args=())
def block_beam(
    vectors: Tensor, codebooks: Tensor, codes: Tensor, block: int, rounds: int, width: int, seed: int
) -> Tensor:
    """Return codes (N, M), of no larger error than those given, by beam search over random blocks of codebooks.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D).
        codes: (N, M), where to start.
        block: codebooks released in a round.
        rounds: of release.
        width: of the beam.
        seed: of the blocks, which all vectors share.
    """
    generator = torch.Generator().manual_seed(seed)
    codes = codes.clone()
    left = vectors - sum_codewords(codebooks, codes)
    for _ in range(rounds):
        chosen = torch.randperm(len(codebooks), generator=generator)[:block].to(codes.device)
        targets = left + sum_codewords(codebooks[chosen], codes[:, chosen])
        found = any_order_beam(targets, codebooks[chosen], width)
        reached = targets - sum_codewords(codebooks[chosen], found)
        better = (reached.square().sum(dim=1) < left.square().sum(dim=1))[:, None]
        codes[:, chosen] = torch.where(better, found, codes[:, chosen])
        left = torch.where(better, reached, left)
    return codes


@block_beam.register_fake
def _(
    vectors: Tensor, codebooks: Tensor, codes: Tensor, block: int, rounds: int, width: int, seed: int
) -> Tensor:
    return torch.empty_like(codes)
