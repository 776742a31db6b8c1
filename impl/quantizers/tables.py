"""The codewords of a quantizer whose decode is a sum of codewords, laid out for search without decoding."""

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor


class CodewordTables(NamedTuple):
    """Tables whose chosen rows add up to the decoded vector: x^ = R' sum_m pad(c_m).

    A table covers neighbouring dimensions and is zero elsewhere. Those of a product cover parts that do not overlap,
    those of a residual or additive quantizer all dimensions.

    Attributes:
        codewords: M tables (K_m, d_m), in the order of the columns of the codes.
        starts: the first dimension that each table covers.
        rotation: R as the (D, D) matrix by which a row vector is multiplied before it is quantized, orthogonal; None
            where there is none.
        products: what sum_{m != l} <c_m, c_l> is made to be for every code, where a method sees to that (composite
            quantization); then distances need no norm of the sum. None where it is not.
    """

    codewords: list[Tensor]
    starts: list[int]
    rotation: Tensor | None = None
    products: float | None = None

    @property
    def disjoint(self) -> bool:
        """Whether no two tables cover the same dimension, so that squared distances add up table by table."""
        spans = sorted(
            (start, start + c.shape[1]) for start, c in zip(self.starts, self.codewords, strict=True)
        )
        return all(end <= start for (_, end), (start, _) in pairwise(spans))
