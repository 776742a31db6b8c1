"""The nearest codeword on a GPU, in one kernel: scores live in registers and never reach memory.

A program takes a block of vectors, walks over all codewords, and keeps for each vector the best score so far and its
index, as the blocked search of `lookup` does. It reads the vectors once and writes only the codes. Used where Triton
is installed; on a machine without a GPU its interpreter (TRITON_INTERPRET=1) runs the same code, slowly.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from impl.quantizers.lookup import prepared

#: Vectors a program takes, codewords it scores at once, and the widest piece of them that it multiplies at once.
ROWS, CODES, WIDTH = 128, 128, 64


@triton.jit
def _nearest(
    vectors,
    codewords,
    center,
    half_norms,
    found,
    count,
    codebook_size,
    dim: tl.constexpr,
    rows: tl.constexpr,
    codes: tl.constexpr,
    width: tl.constexpr,
    precision: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    best = tl.full((rows,), float("-inf"), tl.float32)
    best_code = tl.zeros((rows,), tl.int32)
    for first in range(0, codebook_size, codes):
        code = first + tl.arange(0, codes)
        scores = tl.zeros((rows, codes), tl.float32)
        for start in tl.static_range(0, dim, width):
            axis = start + tl.arange(0, width)
            inside = axis[None, :] < dim
            x = tl.load(vectors + row[:, None] * dim + axis[None, :], (row[:, None] < count) & inside, 0.0)
            middle = tl.load(center + axis, axis < dim, 0.0)
            # Codewords come centred; vectors are centred here, so that no copy of them is written.
            x = (x.to(tl.float32) - middle[None, :]).to(x.dtype)
            at = codewords + code[:, None].to(tl.int64) * dim + axis[None, :]
            c = tl.load(at, (code[:, None] < codebook_size) & inside, 0.0)
            scores = tl.dot(x, tl.trans(c), scores, input_precision=precision)
        half = tl.load(half_norms + code, code < codebook_size, float("inf"))
        score, place = tl.max(
            scores - half[None, :], axis=1, return_indices=True, return_indices_tie_break_left=True
        )
        better = score > best  # strictly, so that the lowest index keeps a tie
        best_code = tl.where(better, first + place, best_code)
        best = tl.where(better, score, best)
    tl.store(found + row, best_code.to(tl.int64), row < count)


def nearest_codes_fused(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return what `lookup.nearest_codes` does, for vectors (N, D) on a GPU in float32, bfloat16 or float16.

    float32 is multiplied in full, not as TF32, because neighbouring codewords may differ by less than that keeps.

    Args:
        vectors: (N, D).
        codewords: (K, D), K at least 1.
    """
    codewords, center, half_norms = prepared(codewords, vectors.dtype)
    count, dim = vectors.shape
    codes = torch.empty(count, dtype=torch.int64, device=vectors.device)
    if count:
        # A dot product of the hardware is at least 16 wide.
        width = min(WIDTH, max(16, triton.next_power_of_2(dim)))
        _nearest[(triton.cdiv(count, ROWS),)](
            *(vectors.contiguous(), codewords.contiguous(), center, half_norms),
            *(codes, count, len(codewords)),
            dim=dim,
            rows=ROWS,
            codes=CODES,
            width=width,
            num_warps=8,
            precision="ieee" if vectors.dtype == torch.float32 else "tf32",
        )
    return codes
