"""Codes of a sum of codewords by a beam that may take the codebooks in any order."""

import torch
from torch import Tensor

from impl.quantizers.base import positive_integer
from impl.quantizers.lookup import BLOCK_SCORES


@torch.library.custom_op("codebook::any_order_beam", mutates_args=())
def any_order_beam(vectors: Tensor, codebooks: Tensor, width: int) -> Tensor:
    """Return codes (N, M), int64, whose sum of codewords is close to each vector (babenko2014additive).

    Each of M rounds extends every partial sum by every codeword of every codebook that it has not used, and keeps the
    `width` best sums. The same choice reached in another order is the same sum, and is kept once. A codebook not used
    yet stands in with its mean, so that a constant moved from one codebook to another changes nothing. Products between
    codewords come from one table, and a round costs additions only.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D), M at least 1; their order does not matter.
        width: partial sums kept.

    Raises:
        ValueError: a width below 1.
    """
    positive_integer("width", width)
    count, size, _ = codebooks.shape
    # Centred: see above; and far from the origin the products would lose what tells sums apart.
    means = codebooks.double().mean(dim=1, keepdim=True)
    center = means.sum(dim=0).to(vectors)
    flat = (codebooks.double() - means).to(vectors.dtype).flatten(0, 1)
    codes = torch.empty(len(vectors), count, dtype=torch.int64, device=vectors.device)
    rows = max(1, BLOCK_SCORES // (width * count * size))
    products = 2 * flat @ flat.T
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows] - center
        shares = flat.square().sum(dim=1) - 2 * block @ flat.T
        codes[start : start + rows] = _search_block(shares, products, count, width)
    return codes


@any_order_beam.register_fake
def _(vectors: Tensor, codebooks: Tensor, width: int) -> Tensor:
    return torch.empty(vectors.shape[0], codebooks.shape[0], dtype=torch.int64, device=vectors.device)


def _search_block(shares: Tensor, products: Tensor, count: int, width: int) -> Tensor:
    """Return codes (N, M) from |c|^2 - 2 <x, c>, (N, MK), and twice the products of codewords, (MK, MK)."""
    rows, total = shares.shape
    size = total // count
    # costs[n, l, i]: what the squared error gains when codeword i joins partial sum l; infinite where its codebook is
    # used. A partial sum of the empty beam's only entry is empty.
    costs, errors = shares[:, None], shares.new_zeros(rows, 1)
    paths = torch.zeros(rows, 1, count, dtype=torch.int64, device=shares.device)
    names = torch.zeros(rows, 1, dtype=torch.int64, device=shares.device)
    marks = torch.randint(2**62, (total,), generator=torch.Generator().manual_seed(0)).to(shares.device)
    for step in range(count):
        totals = (errors[..., None] + costs).flatten(1)
        # A sum of step + 1 codewords has at most step + 1 parents: among so many candidates `width` are different.
        values, best = totals.topk(min(width * (step + 1), totals.shape[1]), dim=1, largest=False)
        parents, found = best // total, best % total
        names = names.gather(1, parents) + marks[found]  # the same codewords, the same sum of marks
        values, kept = values.masked_fill(_repeated(names), torch.inf).topk(
            min(width, values.shape[1]), dim=1, largest=False
        )
        errors, names = values, names.gather(1, kept)
        parents, found = parents.gather(1, kept), found.gather(1, kept)
        paths = paths.gather(1, parents[..., None].expand(-1, -1, count)).scatter(
            2, found[..., None] // size, found[..., None] % size
        )
        costs = costs.gather(1, parents[..., None].expand(-1, -1, total)) + products[found]
        used = torch.arange(count, device=shares.device) == (found // size)[..., None]
        costs = costs.masked_fill(used.repeat_interleave(size, dim=2), torch.inf)
    return paths[torch.arange(rows, device=shares.device), errors.argmin(dim=1)]


def _repeated(names: Tensor) -> Tensor:
    """Return which of the names (N, C) occurred before in their row."""
    ordered, order = names.sort(dim=1, stable=True)
    again = torch.zeros_like(names, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter(1, order, again)
