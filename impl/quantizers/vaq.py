"""Variance-aware quantization: parts of more variance get more bits.

Parts: product quantization (`product`) of codebooks of any size (`vq_vae`), principal axes (`transforms`), k-means and
its tree (`kmeans`, `kmeans_tree`), bits by an integer program (`bit_allocation`); new are the partial balance of
the parts and the unequal bits. Search that looks at the important parts first is in `impl.pruned_search`.
"""

import math
from typing import Self

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.bit_allocation import allocate_bits
from impl.quantizers.kmeans import kmeans
from impl.quantizers.kmeans_tree import kmeans_tree
from impl.quantizers.procrustes import RotatedQuantizer
from impl.quantizers.product import ProductOfQuantizers, part_width
from impl.quantizers.transforms import principal_axes
from impl.quantizers.vq_vae import VectorQuantizer

#: Bits from which on a codebook is clustered as a tree, and bits of that tree's first level.
TREE_BITS, ROOT_BITS = 9, 7


class VarianceAwareQuantizer(RotatedQuantizer):
    """VAQ (paparrizos2022fast): principal axes, partly balanced, and 2^y_m codewords for part m.

    Axes in the order of their variance are cut into M parts of equal width, then a few of the first part's change place
    with the last ones of other parts, as far as the parts' variances stay in order (`partial_balance`). An integer
    program gives part m its y_m bits (`allocate_bits`). Parts that add nothing to the wanted share of the variance
    get none: their one codeword is the mean. `fit` therefore changes `codebook_sizes`; before it, bits are even.

    Args:
        dim: D.
        num_codebooks: M, a divisor of D.
        bits: B, of the whole vector.
        min_bits: of a part within the wanted share of the variance.
        max_bits: of a part. Codebooks of more than 8 bits are clustered in two levels.
        variance_share: of the variance for which parts get bits; more parts do where these cannot hold B.
        **options: of `VectorQuantizer`, for every part.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, M that does not divide D, B that M parts cannot
            hold, or a share outside (0, 1].
    """

    def __init__(
        self,
        dim: int,
        num_codebooks: int,
        bits: int,
        min_bits: int = 1,
        max_bits: int = 8,
        variance_share: float = 1.0,
        **options: object,
    ) -> None:
        width = part_width(positive_integer("dim", dim), positive_integer("num_codebooks", num_codebooks))
        positive_integer("min_bits", min_bits, least=0)
        positive_integer("max_bits", max_bits)
        if not 0 < variance_share <= 1:
            raise ValueError(f"variance_share must be above 0 and at most 1, got {variance_share}.")
        even = allocate_bits([1.0] * num_codebooks, positive_integer("bits", bits), min_bits, max_bits)
        super().__init__(_product(width, even, options))
        self.num_codebooks, self.bit_budget, self.options = num_codebooks, bits, options
        self.min_bits, self.max_bits, self.variance_share = min_bits, max_bits, variance_share

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts that share 6 bits, moved by EMA and started by k-means."""
        return cls(dim, 2, 6, update="ema", decay=0.9, initialization="kmeans")

    def learn(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set rotation, bits and codebooks from vectors (N, D)."""
        _, axes, variances = principal_axes(vectors)
        order = partial_balance(variances, self.num_codebooks)
        self.rotation.copy_(axes[:, order])
        self._rebuild(self._allocation(_part_variances(variances[order], self.num_codebooks)))
        for part, slice_ in zip(self.inner.parts, self.inner._slices(self.rotated(vectors)), strict=True):
            bits = int(math.log2(part.codebook_size))
            if bits < TREE_BITS:
                part.set_codebook(kmeans(slice_.contiguous(), part.codebook_size, iterations, seed))
            else:
                branching = (2**ROOT_BITS, 2 ** (bits - ROOT_BITS))
                part.set_codebook(kmeans_tree(slice_.contiguous(), branching, iterations, seed)[-1])

    def _allocation(self, variances: Tensor) -> list[int]:
        """Bits of parts with variances (M,), largest first; 0 beyond the wanted share."""
        reached = variances.cumsum(dim=0)
        # The part that reaches the share is the last one; a millionth less is reached too, for rounding's sake.
        kept = 1 + int((reached < (self.variance_share - 1e-6) * reached[-1]).sum())
        kept = max(min(kept, self.num_codebooks), math.ceil(self.bit_budget / self.max_bits))
        given = allocate_bits(variances[:kept].tolist(), self.bit_budget, self.min_bits, self.max_bits)
        return given + [0] * (self.num_codebooks - kept)

    def _rebuild(self, bits: list[int]) -> None:
        """Replace the parts by ones of 2^y_m codewords."""
        self.inner = _product(self.dim // self.num_codebooks, bits, self.options).to(self.rotation)
        self.inner.train(self.training)
        self.codebook_sizes = self.inner.codebook_sizes

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *arguments: object) -> None:
        # The state knows the bits; parts of its sizes must be there before theirs is read.
        names = [f"{prefix}inner.parts.{part}.codebook" for part in range(self.num_codebooks)]
        if all(name in state_dict for name in names):
            bits = [int(math.log2(len(state_dict[name]))) for name in names]
            if tuple(2**y for y in bits) != self.codebook_sizes:
                self._rebuild(bits)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def partial_balance(variances: Tensor, parts: int) -> Tensor:
    """Return a permutation (D,) of axes sorted by variance: parts more alike, still in decreasing order of variance.

    The second axis of the first part changes place with the last axis of the second part, the third with the last
    of the third part, and so on, until a swap would put the parts' variances out of order.

    Args:
        variances: (D,), largest first.
        parts: M, a divisor of D; axes of part m come at positions m D / M and on.

    Raises:
        ValueError: M does not divide D.
    """
    width = part_width(len(variances), parts)
    order = torch.arange(len(variances), device=variances.device)
    for place in range(1, min(width, parts)):
        swapped = order.clone()
        other = place * width + width - 1
        swapped[[place, other]] = order[[other, place]]
        sums = _part_variances(variances[swapped], parts)
        if bool((sums[1:] > sums[:-1]).any()):
            break
        order = swapped
    return order


def _part_variances(variances: Tensor, parts: int) -> Tensor:
    """Sums (M,) of the variances (D,) of each part, in float64: rounding must not change their order."""
    return variances.double().unflatten(0, (parts, -1)).sum(dim=1)


def _product(width: int, bits: list[int], options: dict) -> ProductOfQuantizers:
    return ProductOfQuantizers([VectorQuantizer(width, 2**y, **options) for y in bits])
