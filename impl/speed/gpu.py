"""The look-up on a GPU against a full matrix of scores, as shares of what the device can do."""

import statistics
from importlib.util import find_spec

import torch
from torch import Tensor

from impl.quantizers.lookup import nearest_codes
from impl.speed.measuring import Run, evaluation

#: Scores that a peer may hold at once; above this it is left out.
LARGEST = 2**34


def measured(quick: bool) -> dict[str, object]:
    """Return the device, its matrix and copy rates, and for each size and type the look-up's share of them.

    `ratios` are the peers' time over ours. `matrix share` is the arithmetic of the scores in our time over the rate of
    a large product in the same type; `copy share` the bytes of vectors and codes over the rate of a copy.
    """
    rows = 2**14 if quick else 2**20
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        matrix, copy = _matrix_rate(dtype), _copy_rate()
        for dim in (64, 128, 256):
            for codebook_size in (2**8, 2**10, 2**13, 2**16, 2**18)[: 2 if quick else None]:
                results.append(_one(rows, codebook_size, dim, dtype, matrix, copy))
    return {
        "device": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "results": results,
    }


def _one(rows: int, size: int, dim: int, dtype: torch.dtype, matrix: float, copy: float) -> dict[str, object]:
    vectors, codewords = (torch.randn(n, dim, device="cuda").to(dtype) for n in (rows, size))
    seconds = _median(lambda: nearest_codes(vectors, codewords))
    peers: dict[str, Run] = {}
    if rows * size <= LARGEST:
        peers["matmul + argmin"] = lambda: _plain(vectors, codewords)
        if find_spec("vector_quantize_pytorch"):
            from vector_quantize_pytorch import VectorQuantize

            theirs = VectorQuantize(dim=dim, codebook_size=size, rotation_trick=False).cuda()
            peers["vector-quantize-pytorch"] = evaluation(theirs, vectors.float()[None])
    moved = vectors.numel() * vectors.element_size() + rows * 8
    return {
        "rows": rows,
        "codewords": size,
        "dim": dim,
        "type": str(dtype).removeprefix("torch."),
        "seconds": seconds,
        "matrix share": 2 * rows * size * dim / seconds / matrix,
        "copy share": moved / seconds / copy,
        "ratios": {name: _median(run) / seconds for name, run in peers.items()},
    }


def _plain(vectors: Tensor, codewords: Tensor) -> Tensor:
    return (codewords.float().square().sum(dim=1) - 2 * (vectors @ codewords.T).float()).argmin(dim=1)


def _matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    a, b = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    return 2 * 8192**3 / _median(lambda: a @ b)


def _copy_rate() -> float:
    """Bytes a second, read and written, of a large copy."""
    a = torch.empty(2**28, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() * 4 / _median(lambda: b.copy_(a))


def _median(run: Run, runs: int = 10) -> float:
    run()
    taken = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1e3)
    return statistics.median(taken)
