"""Composite quantization: sums of codewords whose products add up to the same number for every vector.

Parts: sums of codewords and the product start (`additive`), coordinate descent over codes (`iterated_local_search`),
counts (`least_squares`); what is new is the constraint, and the codebooks learned under it.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, product_codebooks
from impl.quantizers.base import Quantized, mean_square, positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.iterated_local_search import (
    CrossPenalty,
    coordinate_descent,
    cross_terms,
    pairwise_tables,
)
from impl.quantizers.least_squares import NormalEquations, normal_equations
from impl.quantizers.tables import CodewordTables


class CompositeQuantizer(AdditiveCodebooks):
    """Composite quantization, CQ (zhang2014composite).

    Codewords of full width are added up, and e = sum_{m != l} <c_m, c_l> is made the same for all vectors. Then

        |q - x^|^2 = sum_m |q - c_m|^2 - (M - 1) |q|^2 + e

    ranks items by one table entry a codebook, as a product quantizer does, and no norm is stored. The constraint is a
    penalty, mu (e_n - e)^2, in codes and codebooks alike.

    `fit` starts from a product quantizer, which has e = 0, and repeats: codes by coordinate descent, e as the mean of
    the e_n, codebooks by L-BFGS. None of the three raises the penalised error.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        penalty: mu times the variance of the vectors |x - mean|^2, so that its effect does not depend on their scale;
            chosen by validation. 0 leaves additive quantization.
        sweeps: of coordinate descent over the codes.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        ValueError: a negative penalty.
    """

    weight: Tensor
    target: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        penalty: float = 3.0,
        sweeps: int = 3,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        if penalty < 0:
            raise ValueError(f"penalty must not be negative, got {penalty}.")
        self.penalty, self.sweeps = penalty, positive_integer("sweeps", sweeps)
        #: mu and e; until `fit` sees vectors they are taken to have variance 1.
        self.register_buffer("weight", torch.tensor(float(penalty), dtype=torch.float64))
        self.register_buffer("target", torch.zeros((), dtype=torch.float64))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords."""
        return cls(dim, 8, 3)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set codebooks, mu and e from vectors (N, D)."""
        size = self.codebook_size
        codebooks = product_codebooks(vectors, size, self.num_codebooks, iterations, seed)
        codes, target = greedy_codes(vectors, codebooks), 0.0
        variance = float((vectors - vectors.mean(dim=0)).square().sum(dim=1).mean())
        weight = self.penalty / variance if variance > 0 else 0.0
        for _ in range(iterations):
            codes = coordinate_descent(vectors, codebooks, codes, self.sweeps, CrossPenalty(weight, target))
            target = float(cross_terms(codes, pairwise_tables(codebooks)).mean())
            problem = CompositeProblem(
                normal_equations(vectors, codes, size), codes, CrossPenalty(weight, target)
            )
            codebooks = self.improved_codebooks(codebooks, problem)
        self.codebooks.copy_(codebooks)
        self.weight.fill_(weight)
        self.target.fill_(target)

    def improved_codebooks(self, codebooks: Tensor, problem: "CompositeProblem") -> Tensor:
        """Return codebooks (M, K, D) of no larger penalised error, by L-BFGS."""
        return descend_codebooks(codebooks, problem)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedy ones, improved under the penalty."""
        return composite_codes(vectors, self.codebooks.detach(), self.weight, self.target, self.sweeps)

    def cross_term(self, codes: Tensor) -> Tensor:
        """Return e_n = sum_{m != l} <c_m, c_l>, (N,), of codes (N, M)."""
        chosen = self.codebooks[torch.arange(self.num_codebooks, device=codes.device), codes]
        return chosen.sum(dim=1).square().sum(dim=1) - chosen.square().sum(dim=(1, 2))

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every codebook, for `impl.search` without stored norms."""
        return CodewordTables(
            list(self.codebooks.detach()), [0] * self.num_codebooks, products=float(self.target)
        )

    def _quantize(self, vectors: Tensor) -> Quantized:
        quantized = super()._quantize(vectors)
        cross = self.cross_term(quantized.codes)
        losses = {
            **quantized.losses,
            "cross_term": self.weight.to(cross) * mean_square(cross - self.target.to(cross)),
        }
        return quantized._replace(losses=losses)


class CompositeProblem(NamedTuple):
    """What the codebooks are fitted to: sum_n |x_n - x^_n|^2 + mu (e_n - e)^2, up to a constant.

    Attributes:
        equations: of the vectors and their codes.
        codes: (N, M).
        penalty: mu and e.
    """

    equations: NormalEquations
    codes: Tensor
    penalty: CrossPenalty

    def value(self, codebooks: Tensor) -> Tensor:
        """Return the objective of codebooks (M, K, D), differentiable; D plays no part in its cost for each vector."""
        flat = codebooks.flatten(0, 1)
        products = flat @ flat.T
        error = (self.equations.counts * products).sum() - 2 * (self.equations.sums * flat).sum()
        places = self.codes + codebooks.shape[1] * torch.arange(len(codebooks), device=self.codes.device)
        first, second = torch.triu_indices(len(codebooks), len(codebooks), offset=1, device=places.device)
        cross = 2 * products[places[:, first], places[:, second]].sum(dim=1)
        return error + self.penalty.weight * (cross - self.penalty.target).square().sum()


def descend_codebooks(
    codebooks: Tensor, problem: CompositeProblem, support: Tensor | None = None, steps: int = 10
) -> Tensor:
    """Return codebooks (M, K, D) after L-BFGS steps in float64, or those given where they have not become better.

    Args:
        codebooks: where to start.
        problem: what to minimise.
        support: (M, K, D) bool: entries elsewhere stay 0; None for all.
        steps: at most.
    """
    start = codebooks.double()
    free = start.clone().requires_grad_()

    def masked() -> Tensor:
        return free if support is None else free * support

    optimizer = torch.optim.LBFGS([free], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = problem.value(masked())
        value.backward()
        return value

    with torch.enable_grad():
        before = optimizer.step(closure)
    reached = masked().detach()
    return reached.to(codebooks) if problem.value(reached) < before else codebooks


@torch.library.custom_op("codebook::composite_codes", mutates_args=())
def composite_codes(
    vectors: Tensor, codebooks: Tensor, weight: Tensor, target: Tensor, sweeps: int
) -> Tensor:
    """Return codes (N, M) of vectors (N, D): greedy ones, then coordinate descent on the penalised error.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D).
        weight: mu, a scalar.
        target: e, a scalar.
        sweeps: at most.
    """
    codebooks = codebooks.to(vectors.dtype)
    penalty = CrossPenalty(float(weight), float(target))
    return coordinate_descent(vectors, codebooks, greedy_codes(vectors, codebooks), sweeps, penalty)


@composite_codes.register_fake
def _(vectors: Tensor, codebooks: Tensor, weight: Tensor, target: Tensor, sweeps: int) -> Tensor:
    return torch.empty(vectors.shape[0], codebooks.shape[0], dtype=torch.int64, device=vectors.device)
