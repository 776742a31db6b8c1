"""Recall of the classical quantizers on released descriptors: python -m impl.recall FOLDER

FOLDER holds the TEXMEX files of SIFT1M (sift_base.fvecs, sift_query.fvecs, sift_groundtruth.ivecs, sift_learn.fvecs).
At 64 bits the survey quotes recall@1 / @10 / @100 of .224 / .599 / .924 for PQ, .259 / .658 / .954 for RVQ, .288 /
.716 / .967 for CQ and .298 / .741 / .972 for AQ.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from tqdm import tqdm

from impl.data.vectors import SearchSet, sift
from impl.quantizers.additive_quantization import AdditiveQuantizer
from impl.quantizers.base import Quantizer
from impl.quantizers.composite_quantization import CompositeQuantizer
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.search import LookupIndex, recall_at

METHODS: dict[str, Callable[[int, int, int], Quantizer]] = {
    "PQ": ProductQuantizer,
    "OPQ": OptimizedProductQuantizer,
    "RVQ": ResidualVQ,
    "CQ": CompositeQuantizer,
    "AQ": AdditiveQuantizer,
}
#: Depths of recall in the survey's table.
DEPTHS = (1, 10, 100)


class Recalled(NamedTuple):
    """One row: the method, recall@1, @10 and @100, and the error as a share of the base's variance."""

    name: str
    recalls: tuple[float, ...]
    error: float


@torch.no_grad()
def recalled(
    name: str,
    vectors: SearchSet,
    codebook_size: int = 256,
    num_codebooks: int = 8,
    iterations: int = 25,
    seed: int = 0,
) -> Recalled:
    """Fit a method of `METHODS` to the vectors to learn from, encode the base, search it by look-up tables.

    Args:
        name: of the method.
        vectors: base, queries, their exact neighbours, vectors to learn from.
        codebook_size: K.
        num_codebooks: M; M log2 K bits an item.
        iterations: of the fit.
        seed: of the fit.

    Raises:
        ValueError: an unknown method.
    """
    if name not in METHODS:
        raise ValueError(f"name must be one of {', '.join(METHODS)}, got {name!r}.")
    quantizer = METHODS[name](vectors.base.shape[1], codebook_size, num_codebooks)
    quantizer.fit(vectors.learn, iterations, seed).eval()
    index = LookupIndex(quantizer, vectors.base)
    _, found = index.search(vectors.queries, min(max(DEPTHS), len(vectors.base)))
    recalls = tuple(recall_at(found, vectors.neighbours[:, 0], depth) for depth in DEPTHS)
    decoded = quantizer.decode(index.codes)
    spread = (vectors.base - vectors.base.mean(dim=0)).square().mean()
    return Recalled(name, recalls, float((decoded - vectors.base).square().mean() / spread))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m impl.recall", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("folder", help="where the released files are")
    parser.add_argument(
        "--name", default="sift1m", choices=("sift1m", "siftsmall", "sift5k"), help="which set"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--codebook-size", type=int, default=256)
    parser.add_argument("--num-codebooks", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        vectors = sift(given.name, given.folder)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print("method  recall@1  recall@10  recall@100  error")
    for name in tqdm(given.methods, disable=None, unit="method"):
        row = recalled(name, vectors, given.codebook_size, given.num_codebooks, given.iterations, given.seed)
        print(
            f"{name:<6}  {row.recalls[0]:8.3f}  {row.recalls[1]:9.3f}  {row.recalls[2]:10.3f}  {row.error:5.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
