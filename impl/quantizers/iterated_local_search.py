"""Codes of a sum of codewords by local search: coordinate descent, and perturbations to leave its local minima.

All M codes of a vector interact, since |x - sum_m c_m|^2 holds <c_m, c_l> for each pair. With the other codes held,
the best code of one codebook is the minimum of K numbers: its own share, |c|^2 - 2 <x, c>, plus the products with the
M - 1 codewords chosen elsewhere, which are looked up in tables made once. A sweep takes the codebooks in turn (iterated
conditional modes, ICM); iterated local search (martinez2016revisiting) perturbs some codes, sweeps again, and keeps
what is better, vector by vector.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Scores (rows, M, K) held at once: 2^19 float32 values are 2 MiB.
BLOCK_SCORES = 2**19


class CrossPenalty(NamedTuple):
    """A price on the sum of the products of a vector's codewords, for composite quantization (zhang2014composite).

    Attributes:
        weight: mu; the price is mu (sum_{m != l} <c_m, c_l> - target)^2.
        target: what the sum should be, for every vector.
    """

    weight: float
    target: float


class Perturbation(NamedTuple):
    """One round of the search: the order of the codebooks, and the codes that are moved before it.

    Drawn once for all vectors: a vector's code does not depend on the others in its batch.

    Attributes:
        order: the codebooks, as a sweep visits them.
        positions: (p,) the codebooks whose codes are moved, all different.
        offsets: (p,) by how much, modulo K: uniform over the other codewords.
    """

    order: list[int]
    positions: Tensor
    offsets: Tensor


def pairwise_tables(codebooks: Tensor) -> Tensor:
    """Return twice the products of codewords, (M, M K, K), of codebooks (M, K, D): table m is what one looks up to
    score the codewords of codebook m. Products within a codebook are 0, for two of its codewords never meet.
    """
    count, size, _ = codebooks.shape
    flat = codebooks.flatten(0, 1)
    tables = (2 * flat @ flat.T).view(count, size, count, size)
    tables.diagonal(dim1=0, dim2=2).zero_()
    return tables.permute(2, 0, 1, 3).reshape(count, count * size, size).contiguous()


def own_shares(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """Return |c|^2 - 2 <x, c>, (M, N, K), for vectors (N, D) and codebooks (M, K, D)."""
    return torch.baddbmm(
        codebooks.square().sum(dim=2)[:, None], vectors.expand(len(codebooks), -1, -1), codebooks.mT, alpha=-2
    )


def cross_terms(codes: Tensor, tables: Tensor) -> Tensor:
    """Return sum_{m != l} <c_m, c_l>, (N,), of codes (N, M) with the tables of `pairwise_tables`."""
    flat = codes + tables.shape[2] * torch.arange(codes.shape[1], device=codes.device)
    total = torch.zeros(len(codes), dtype=tables.dtype, device=codes.device)
    for index, table in enumerate(tables):
        products = F.embedding_bag(flat, table, mode="sum")
        total += products.gather(1, codes[:, index : index + 1])[:, 0] / 2
    return total


def descend(
    codes: Tensor,
    shares: Tensor,
    tables: Tensor,
    order: list[int],
    sweeps: int,
    penalty: CrossPenalty | None = None,
) -> Tensor:
    """Return codes (N, M) after sweeps of coordinate descent; the objective of no vector rises.

    A vector that a sweep leaves as it was is at a minimum and takes no part in the next one.

    Args:
        codes: where the search starts.
        shares: (M, N, K), of `own_shares`.
        tables: (M, M K, K), of `pairwise_tables`.
        order: the codebooks as a sweep visits them.
        sweeps: at most.
        penalty: added to the squared error where given.
    """
    size = tables.shape[2]
    flat = codes + size * torch.arange(codes.shape[1], device=codes.device)
    found, active = flat, None
    for _ in range(sweeps):
        before = flat.clone()
        cross = None if penalty is None else cross_terms(_unflat(flat, size), tables)
        for index in order:
            products = F.embedding_bag(flat, tables[index], mode="sum")
            scores = shares[index] + products
            if penalty is not None:
                rest = cross - products.gather(1, flat[:, index : index + 1] - index * size)[:, 0]
                summed = rest[:, None] + products
                scores += penalty.weight * (summed - penalty.target).square()
            best = _lowest(scores)
            if penalty is not None:
                cross = summed.gather(1, best[:, None])[:, 0]
            flat[:, index] = best + index * size
        changed = (flat != before).any(dim=1)
        if active is None:
            found = flat
        else:
            found[active] = flat
        going = int(changed.sum())
        if going == 0:
            break
        if going < 0.8 * len(flat):
            rows = changed.nonzero()[:, 0]
            active = rows if active is None else active[rows]
            flat, shares = flat[rows], shares[:, rows]
    return _unflat(found, size)


def _unflat(flat: Tensor, size: int) -> Tensor:
    return flat - size * torch.arange(flat.shape[1], device=flat.device)


def _lowest(scores: Tensor) -> Tensor:
    """The first index (N,) of the lowest score of each row; NumPy's is the vectorised one on a CPU."""
    if scores.device.type != "cpu":
        return scores.argmin(dim=1)
    return torch.from_numpy(scores.numpy().argmin(axis=1))


def coordinate_descent(
    vectors: Tensor, codebooks: Tensor, codes: Tensor, sweeps: int, penalty: CrossPenalty | None = None
) -> Tensor:
    """Return codes (N, M) of vectors (N, D) after sweeps over codebooks (M, K, D), block after block of vectors.

    The objective of no vector rises; the penalty holds products of codewords as they are, so nothing is centred here.
    """
    tables, found = pairwise_tables(codebooks), torch.empty_like(codes)
    order = list(range(len(codebooks)))
    rows = max(1, BLOCK_SCORES // (len(codebooks) * codebooks.shape[1]))
    for start in range(0, len(vectors), rows):
        shares = own_shares(vectors[start : start + rows], codebooks)
        found[start : start + rows] = descend(
            codes[start : start + rows], shares, tables, order, sweeps, penalty
        )
    return found


def draw_perturbations(
    rounds: int, num_codebooks: int, codebook_size: int, perturbed: int, seed: int
) -> list[Perturbation]:
    """Draw the rounds of a search over M codebooks of K codewords, each with `perturbed` codes moved, at most M."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(rounds):
        order = torch.randperm(num_codebooks, generator=generator)
        positions = torch.randperm(num_codebooks, generator=generator)[:perturbed]
        offsets = torch.randint(1, max(2, codebook_size), (len(positions),), generator=generator)
        drawn.append(Perturbation(order.tolist(), positions, offsets))
    return drawn


@torch.library.custom_op("codebook::local_search", mutates_args=())
def local_search(
    vectors: Tensor, codebooks: Tensor, codes: Tensor, rounds: int, sweeps: int, perturbed: int, seed: int
) -> Tensor:
    """Return codes (N, M), of no larger error than those given, by iterated local search.

    Plain coordinate descent comes first; then each round moves some codes at random, descends, and keeps the new codes
    of those vectors whose error fell.

    Args:
        vectors: (N, D).
        codebooks: (M, K, D).
        codes: (N, M), where to start.
        rounds: of perturbation; 0 is coordinate descent alone.
        sweeps: over the codebooks, at most, in each descent.
        perturbed: codes moved in a round.
        seed: of the draws, which all vectors share.
    """
    count, size = codebooks.shape[:2]
    # Centred, because far from the origin the products lose what tells sums apart.
    means = codebooks.double().mean(dim=1, keepdim=True)
    center = means.sum(dim=0).to(vectors)
    codebooks = (codebooks.double() - means).to(vectors.dtype)
    tables, flat = pairwise_tables(codebooks), codebooks.flatten(0, 1)
    offsets = size * torch.arange(count, device=codes.device)
    drawn = draw_perturbations(rounds, count, size, perturbed, seed)
    found = torch.empty_like(codes)
    rows = max(1, BLOCK_SCORES // (count * size))
    for start in range(0, len(vectors), rows):
        block = vectors[start : start + rows] - center

        def error(trial: Tensor, block: Tensor = block) -> Tensor:
            return (block - F.embedding_bag(trial + offsets, flat, mode="sum")).square().sum(dim=1)

        shares = own_shares(block, codebooks)
        best = descend(codes[start : start + rows], shares, tables, list(range(count)), sweeps)
        least = error(best)
        for order, positions, moves in drawn:
            trial = best.clone()
            where = positions.to(trial.device)
            trial[:, where] = (trial[:, where] + moves.to(trial.device)) % size
            trial = descend(trial, shares, tables, order, sweeps)
            reached = error(trial)
            better = reached < least
            best = torch.where(better[:, None], trial, best)
            least = torch.where(better, reached, least)
        found[start : start + rows] = best
    return found


@local_search.register_fake
def _(
    vectors: Tensor, codebooks: Tensor, codes: Tensor, rounds: int, sweeps: int, perturbed: int, seed: int
) -> Tensor:
    return torch.empty_like(codes)
