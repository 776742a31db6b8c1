"""A product of trees: every part of a product has a tree of codewords instead of a table.

Parts: a product (`product`) of nearest codewords (`nearest`), hierarchical k-means (`kmeans_tree`); new is the descent
instead of a comparison with all codewords, and that the front of a code is a coarser code.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import positive_integer
from impl.quantizers.kmeans_tree import kmeans_tree
from impl.quantizers.lookup import BLOCK_SCORES
from impl.quantizers.nearest import NearestCodeword
from impl.quantizers.product import ProductOfQuantizers, part_width


class TreeQuantizer(NearestCodeword):
    """One part: K = b_1 ... b_L leaves under a tree, found by descent.

    Leaves are the codewords. An inner node is the mean of its leaves, weighted by the vectors that `fit` sent to each,
    so that nodes follow leaves that training moves.

    Args:
        dim: D.
        branching: b_1, ..., b_L, children of a node on each level.
        width: T, nodes kept on each level; 1 is greedy, K compares with all leaves.
        commitment_weight: beta, inside an autoencoder.
    """

    part_of: ClassVar[str] = "a part of products of trees"

    counts: Tensor

    def __init__(
        self, dim: int, branching: Sequence[int], width: int = 1, commitment_weight: float = 0.25
    ) -> None:
        branching = tuple(positive_integer("branching", count) for count in branching)
        if not branching:
            raise ValueError("branching must name the children of a node for at least one level, got none.")
        super().__init__(dim, math.prod(branching), commitment_weight)
        self.branching, self.width = branching, positive_integer("width", width)
        self.codebook = nn.Parameter(torch.randn(self.codebook_size, dim) / dim**0.5)
        self.register_buffer("counts", torch.ones(self.codebook_size))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 8 leaves under 4 nodes."""
        return cls(dim, (4, 2))

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Grow the tree by k-means of vectors (N, D), then of the members of each node."""
        vectors = self._training_vectors(vectors)
        levels = kmeans_tree(vectors, self.branching, iterations, seed)
        self.codebook.copy_(levels[-1])
        self.counts.copy_(torch.bincount(tree_codes(vectors, levels, 1), minlength=self.codebook_size))
        return self

    def codewords(self) -> Tensor:
        """Return the leaves (K, D)."""
        return self.codebook

    def levels(self, leaves: Tensor) -> list[Tensor]:
        """Return the centres of every level, (b_1, D) to (K, D), above leaves (K, D)."""
        found, nodes = [], 1
        for count in self.branching[:-1]:
            nodes *= count
            weights = self.counts.to(leaves.dtype).view(nodes, -1, 1)
            # Where no vector came, all leaves weigh alike.
            weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, 1)
            found.append((weights * leaves.view(nodes, -1, self.dim)).sum(dim=1) / weights.sum(dim=1))
        return [*found, leaves]

    def assign(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Return the leaves (N,) to which vectors (N, D) descend."""
        return tree_codes(vectors, self.levels(table), self.width)

    @property
    def comparisons(self) -> int:
        """Centres that a vector is compared with."""
        return sum(
            min(self.width, math.prod(self.branching[:level])) * count if level else count
            for level, count in enumerate(self.branching)
        )

    @torch.no_grad()
    def truncated(self, depth: int) -> "TreeQuantizer":
        """Return the first `depth` levels as a quantizer of their own.

        Raises:
            ValueError: a depth below 1 or above L.
        """
        if positive_integer("depth", depth) > len(self.branching):
            raise ValueError(f"depth must be at most the tree's {len(self.branching)} levels, got {depth}.")
        top = TreeQuantizer(self.dim, self.branching[:depth], self.width, self.commitment_weight)
        top = top.to(self.codebook)
        top.codebook.copy_(self.levels(self.codebook)[depth - 1])
        top.counts.copy_(self.counts.view(top.codebook_size, -1).sum(dim=1))
        return top.train(self.training)


class ProductTreeQuantizer(ProductOfQuantizers):
    """M parts, each with a tree of K = b_1 ... b_L codewords: what the title of PTQ (yuan2015product) names.

    Of the paper only the title was at hand. The trees are of k-means centres. A part costs at most T (b_1 + ... + b_L)
    comparisons instead of K. Its code begins with its codes in the upper levels, so a shorter code needs no other
    codebook (`truncated`).

    Args:
        dim: D.
        branching: b_1, ..., b_L, children of a node on each level, the same for all parts.
        num_codebooks: M, a divisor of D.
        width: T, nodes kept on each level of the descent.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, no levels, or M does not divide D.
    """

    part_of: ClassVar[str] = (
        "a product of trees as PTQ's title names it; whether it is PTQ could not be checked: the paper was not at hand"
    )

    def __init__(
        self,
        dim: int,
        branching: Sequence[int],
        num_codebooks: int,
        width: int = 1,
        commitment_weight: float = 0.25,
    ) -> None:
        own = part_width(positive_integer("dim", dim), positive_integer("num_codebooks", num_codebooks))
        super().__init__(
            [TreeQuantizer(own, branching, width, commitment_weight) for _ in range(num_codebooks)]
        )

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 leaves under 4 nodes."""
        return cls(dim, (4, 2), 2)

    def truncated(self, depth: int) -> ProductOfQuantizers:
        """Return the product of the trees' first `depth` levels: fewer bits from the same codebooks.

        Raises:
            ValueError: a depth below 1 or above L.
        """
        return ProductOfQuantizers([part.truncated(depth) for part in self.parts]).train(self.training)

    def shortened(self, codes: Tensor, depth: int) -> Tensor:
        """Return the codes (..., M) in `truncated(depth)` that codes (..., M) begin with.

        Raises:
            TypeError, ValueError: codes that are none, or a depth below 1 or above L.
        """
        self._check_codes(codes)
        branching = self.parts[0].branching
        if positive_integer("depth", depth) > len(branching):
            raise ValueError(f"depth must be at most the tree's {len(branching)} levels, got {depth}.")
        return codes // math.prod(branching[depth:])


@torch.library.custom_op("codebook::tree_codes", mutates_args=())
def tree_codes(vectors: Tensor, levels: Sequence[Tensor], width: int) -> Tensor:
    """Return the leaves (N,), int64, that vectors (N, D) reach by keeping the `width` nearest nodes on each level.

    With as many nodes kept as there are, the nearest leaf; of equal ones that of the lowest index.

    Args:
        vectors: (N, D).
        levels: centres (K_1, D), (K_2, D), ...; the children of node n of a level are K_{l+1} / K_l neighbours.
        width: nodes kept, at least 1.
    """
    codes = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    sizes = [1, *(len(level) for level in levels)]
    widest = max(min(width, before) * (size // before) for before, size in pairwise(sizes))
    rows = max(1, BLOCK_SCORES // (widest * vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows]
        kept = torch.zeros(len(block), 1, dtype=torch.int64, device=vectors.device)
        for before, level in zip(sizes, levels, strict=False):
            count = len(level) // before
            children = (kept[..., None] * count + torch.arange(count, device=vectors.device)).flatten(1)
            # Ascending, so that of equal distances the stable sort puts the lowest index first.
            children = children.sort(dim=1).values
            distances = (block[:, None] - level[children].to(block.dtype)).square().sum(dim=2)
            order = distances.sort(dim=1, stable=True).indices[:, :width]
            kept = children.gather(1, order)
        codes[start : start + rows] = kept[:, 0]
    return codes


@tree_codes.register_fake
def _(vectors: Tensor, levels: Sequence[Tensor], width: int) -> Tensor:
    return torch.empty(vectors.shape[0], dtype=torch.int64, device=vectors.device)
