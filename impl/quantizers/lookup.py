"""Nearest codeword, in one place: blocked, so that memory is O(N + K) and never an (N, K) matrix.

|x - c|^2 = |x|^2 - 2 <x, c> + |c|^2, and |x|^2 does not depend on the code, so the nearest codeword is the
one that maximises <x, c> - |c|^2 / 2: one matrix product with the halved norms folded in, and a running
maximum over blocks.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

#: Scores held at once: 2^20 float32 values are 4 MiB. Fewer leave two threads too little work between their meetings,
#: more fall out of the cache.
BLOCK_SCORES = 2**20
#: Codewords a block spans at most; the rest of the block is rows.
BLOCK_CODES = 1024


@torch.library.custom_op("codebook::nearest_codes", mutates_args=())
def nearest_codes(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return the index (N,), int64, of the codeword nearest to each vector in squared Euclidean distance.

    Ties go to the lowest index. Scores are float32, float64 for float64 vectors. On a GPU one kernel does it all where
    Triton is installed (`lookup_triton`).

    Args:
        vectors: (N, D).
        codewords: (K, D), K at least 1; cast to the vectors' type.
    """
    if vectors.is_cuda and vectors.dtype != torch.float64 and find_spec("triton"):
        from impl.quantizers.lookup_triton import nearest_codes_fused

        return nearest_codes_fused(vectors, codewords)
    codewords, center, half_norms = prepared(codewords, vectors.dtype)
    codewords = codewords.to(half_norms.dtype)
    codes = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    block_codes = min(len(codewords), BLOCK_CODES)
    block_rows = max(1, BLOCK_SCORES // block_codes)
    # Every block's scores are written here: fresh memory would cost more than the search in few dimensions.
    scores = half_norms.new_empty(min(block_rows, len(vectors)) * block_codes)
    for start in range(0, len(vectors), block_rows):
        block = vectors[start : start + block_rows] - center
        best, best_codes = _block_maximum(scores, block, codewords[:block_codes], half_norms[:block_codes])
        for first in range(block_codes, len(codewords), block_codes):
            last = first + block_codes
            score, found = _block_maximum(scores, block, codewords[first:last], half_norms[first:last])
            better = score > best  # strictly, so that the lowest index keeps a tie
            best = torch.where(better, score, best)
            best_codes = torch.where(better, found + first, best_codes)
        codes[start : start + block_rows] = best_codes
    return codes


def prepared(codewords: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a search for vectors of type `dtype` needs of codewords (K, D).

    Returns:
        The codewords in that type, without their mean; the mean (D,); half the squared norms (K,). Far from the origin
        the expansion of the square would lose the distance in the rounding of the norms, so float32 and float64 are
        centred on the mean codeword. Half-precision numbers are left as they are: their products are exact in the
        float32 of the scores, and taking a mean from them would round them once more.
    """
    score = torch.promote_types(dtype, torch.float32)
    if dtype == score:
        center = codewords.mean(dim=0)
        codewords = (codewords - center).to(dtype)
    else:
        center = torch.zeros_like(codewords[0])
        codewords = codewords.to(dtype)
    return codewords, center.to(score), codewords.to(score).square().sum(dim=1) / 2


@nearest_codes.register_fake
def _(vectors: Tensor, codewords: Tensor) -> Tensor:
    return torch.empty(vectors.shape[0], dtype=torch.int64, device=vectors.device)


def _block_maximum(
    memory: Tensor, block: Tensor, codewords: Tensor, half_norms: Tensor
) -> tuple[Tensor, Tensor]:
    """Best score and its first index for each row; the (rows, codewords) scores are written to `memory`."""
    scores = memory[: len(block) * len(codewords)].view(len(block), len(codewords))
    torch.addmm(half_norms, block, codewords.T, beta=-1, out=scores)
    if scores.device.type != "cpu":
        return scores.max(dim=1)
    # On a CPU torch's max over rows costs half as much as the matrix product; NumPy's argmax is vectorised.
    best_codes = torch.from_numpy(scores.numpy().argmax(axis=1))
    return scores.gather(1, best_codes[:, None]).squeeze(1), best_codes
