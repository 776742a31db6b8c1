"""Sparse composite quantization: composite codebooks of few non-zero entries, so that a query's tables are cheap.

Parts: composite quantization (`composite_quantization`); what is new is the budget of entries and how it is met.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.composite_quantization import CompositeProblem, CompositeQuantizer, descend_codebooks


class SparseCompositeQuantizer(CompositeQuantizer):
    """Sparse composite quantization, SQ1 and SQ2 (zhang2015sparse).

    The tables of a query cost as many multiplications as the codebooks have non-zero entries: M K D in composite
    quantization, K D in a product. Here they have at most S: K D (SQ1, the cost of a product) or K D + D^2 (SQ2, that
    of a product and a rotation).

    Each step of `fit` takes a proximal step for an l1 price on the entries, the lowest price that leaves S of them, and
    fits the survivors again without it, since the price also shrinks what it keeps. The old places fitted again are
    taken instead where they are better: so from its start, a product quantizer, the penalised error only falls. Steps
    of gradient inside an autoencoder keep to no budget.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        entries: S, from K D to M K D; None for K D.
        **options: of `CompositeQuantizer`.

    Raises:
        ValueError: fewer entries than a product quantizer has, or more than there are.
    """

    def __init__(
        self, dim: int, codebook_size: int, num_codebooks: int, entries: int | None = None, **options: object
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, **options)
        least = codebook_size * dim
        self.entries = least if entries is None else positive_integer("entries", entries, least=least)
        if self.entries > self.codebooks.numel():
            raise ValueError(f"entries must be at most {self.codebooks.numel()}, got {entries}.")

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords with half of their entries."""
        return cls(dim, 8, 3, entries=12 * dim)

    def improved_codebooks(self, codebooks: Tensor, problem: CompositeProblem) -> Tensor:
        """Return codebooks (M, K, D) of at most S entries and of no larger penalised error."""
        held = descend_codebooks(codebooks, problem, codebooks != 0)
        moved = proximal_step(held, problem, self.entries)
        moved = descend_codebooks(moved, problem, moved != 0)
        better = problem.value(moved.double()) < problem.value(held.double())
        return moved if better else held


def proximal_step(codebooks: Tensor, problem: CompositeProblem, entries: int) -> Tensor:
    """Return codebooks (M, K, D) after a gradient step and the soft threshold of the l1 price that leaves `entries`.

    B'B is at most M times its diagonal, the counts n of the codewords, so 1 / (2 M n) is a safe rate for each codeword
    (the penalty's own curvature is left aside), and an l1 price p takes p / (2 M n) off each of its entries.
    """
    free = codebooks.double().detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(problem.value(free), free)
    curvature = 2 * len(codebooks) * problem.equations.counts.diagonal().clamp(min=1)
    curvature = curvature.view(codebooks.shape[:2])[..., None]
    stepped = free.detach() - gradient / curvature
    pulls = (stepped.abs() * curvature).flatten()
    price = pulls.sort(descending=True).values[entries] if entries < len(pulls) else 0.0
    return (stepped.sign() * (stepped.abs() - price / curvature).clamp(min=0)).to(codebooks)
