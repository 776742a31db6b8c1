"""Codes of a sum of codewords, one codebook after the other: greedily, or with a beam of the best partial sums."""

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.lookup import BLOCK_SCORES, nearest_codes

#: Columns of scores of which only the largest is compared at first.
GROUP = 32


def greedy_codes(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """Return codes (N, M): each the codeword nearest to what the codewords before it leave.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D), in the order in which they are used; M at least 1.
    """
    columns, residual = [], vectors
    for codebook in codebooks:
        columns.append(nearest_codes(residual, codebook))
        residual = residual - codebook[columns[-1]].to(vectors.dtype)
    return torch.stack(columns, dim=1)


@torch.library.custom_op("codebook::beam_codes", mutates_args=())
def beam_codes(vectors: Tensor, codebooks: Tensor, width: int) -> Tensor:
    """Return codes (N, M), int64, whose sum of codewords is close to each vector, by beam search.

    After each codebook the `width` partial sums nearest to the vector are kept; each is extended by all K codewords of
    the next one. Width 1 is greedy, K^(M-1) tries all K^M sums. A wider beam is better on average, not for each vector.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D), in the order in which they are used; M at least 1.
        width: partial sums kept.

    Raises:
        ValueError: a width below 1.
    """
    positive_integer("width", width)
    count, size = codebooks.shape[:2]
    codebooks = codebooks.to(vectors.dtype)
    codes = torch.empty(len(vectors), count, dtype=torch.int64, device=vectors.device)
    rows = max(1, BLOCK_SCORES // (min(width, size ** (count - 1)) * max(size, vectors.shape[1])))
    for start in range(0, len(vectors), rows):
        codes[start : start + rows] = _search_block(vectors[start : start + rows], codebooks, width)
    return codes


@beam_codes.register_fake
def _(vectors: Tensor, codebooks: Tensor, width: int) -> Tensor:
    return torch.empty(vectors.shape[0], codebooks.shape[0], dtype=torch.int64, device=vectors.device)


def _search_block(vectors: Tensor, codebooks: Tensor, width: int) -> Tensor:
    residuals = vectors[:, None]  # (rows, partial sums, D): what each partial sum leaves
    paths = torch.empty(len(vectors), 1, 0, dtype=torch.int64, device=vectors.device)
    for codebook in codebooks:
        # Centred on the codebook's mean: far from the origin the expanded square loses the distance.
        center = codebook.mean(dim=0)
        shifted, codewords = (residuals - center).flatten(0, 1), codebook - center
        # Half the squared distance, negated: halved norms folded into the product, as in `lookup`.
        scores = torch.addmm(codewords.square().sum(dim=1) / 2, shifted, codewords.T, beta=-1)
        scores -= shifted.square().sum(dim=1, keepdim=True) / 2
        scores = scores.view(len(vectors), -1)
        best = largest(scores, min(width, scores.shape[1]))
        parents, found = best // len(codebook), best % len(codebook)
        # Residuals are taken from the codewords themselves, so no rounding of scores adds up over the codebooks.
        residuals = _take(residuals, parents) - codebook[found]
        paths = torch.cat([_take(paths, parents), found[..., None]], dim=2)
    winner = residuals.square().sum(dim=2).argmin(dim=1, keepdim=True)
    return _take(paths, winner)[:, 0]


def largest(scores: Tensor, count: int) -> Tensor:
    """Return the columns (N, count) of the largest scores (N, S) of each row, largest first.

    `topk` alone costs more than making the scores. The `count` largest lie in the `count` groups with the largest
    maxima, and maxima over groups of columns that lie apart run at the width of the processor's registers.
    """
    groups = scores.shape[1] // GROUP
    if scores.shape[1] % GROUP or groups < 2 * count:
        return scores.topk(count, dim=1).indices
    grouped = scores.view(len(scores), GROUP, groups)
    kept = grouped.amax(dim=1).topk(count, dim=1).indices
    candidates = grouped.gather(2, kept[:, None].expand(-1, GROUP, -1)).flatten(1)
    best = candidates.topk(count, dim=1).indices
    return best // count * groups + kept.gather(1, best % count)


def _take(tensor: Tensor, index: Tensor) -> Tensor:
    """Select rows index (B, L') of tensor (B, L, C)."""
    return tensor.gather(1, index[..., None].expand(-1, -1, tensor.shape[2]))
