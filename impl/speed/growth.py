"""How the look-up's time grows with vectors and codewords: a line over three decades, for a plot of logarithms."""

import statistics
import time

import torch

from impl.quantizers.lookup import nearest_codes

DIM = 64


def growth(quick: bool) -> list[dict[str, float]]:
    """Return seconds for N from 10^3 to 10^6 at K = 1,024, and for K from 10^2 to 10^5 at N = 4,096."""
    top = 2 if quick else 6
    sizes = [(10**power, 1024) for power in range(3, top + 1)] + [
        (4096, 10**power) for power in range(2, top)
    ]
    rows = []
    for count, codebook_size in sizes or [(100, 64)]:
        vectors, codewords = torch.randn(count, DIM), torch.randn(codebook_size, DIM)
        nearest_codes(vectors, codewords)
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            nearest_codes(vectors, codewords)
            taken.append(time.perf_counter() - start)
        rows.append({"vectors": count, "codewords": codebook_size, "seconds": statistics.median(taken)})
    return rows
