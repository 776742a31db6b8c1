"""How well the codes of entities can be told apart (li2023random): entropy of whole codes, Jaccard distance of sets.

Codes are those of `EntityQuantizer.codewords`: numbers of one vocabulary, a set for each entity. Weight 0 means that a
column is not used; other weights do not count.
"""

import torch
from torch import Tensor

from impl.quantizers.entities import EntityCodes

_BLOCK = 1024  # entities that are compared with all others together


def code_entropy(codes: EntityCodes) -> float:
    """Shannon entropy in bits of the distribution over distinct sets: log2 N where all N entities differ."""
    shares = _shares(codes)
    return float(-(shares * shares.log2()).sum()) + 0.0  # + 0.0: never -0.0


def binary_code_entropy(codes: EntityCodes) -> float:
    """The measure that the paper's released code reports: the binary entropies of the sets' shares, summed up.

    Larger than `code_entropy` by -(1 - p) log2(1 - p) for every distinct set of share p.
    """
    shares = _shares(codes)
    return (
        float((torch.special.entr(shares) + torch.special.entr(1 - shares)).sum() / torch.tensor(2.0).log())
        + 0.0
    )


def jaccard_to_neighbours(codes: EntityCodes, neighbours: int) -> float:
    """Mean Jaccard distance, 1 - |A & B| / |A | B|, of an entity's set to those of the k others that are nearest by it.

    Distances are computed for a block of entities at a time. Two empty sets have distance 0.

    Raises:
        ValueError: fewer than k other entities.
    """
    found, weights = codes
    if not 1 <= neighbours < len(found):
        raise ValueError(f"neighbours must be from 1 to {len(found) - 1}, got {neighbours}.")
    member = torch.zeros(len(found), int(found.max()) + 1)
    rows, columns = (weights != 0).nonzero(as_tuple=True)
    member[rows, found[rows, columns]] = 1
    sizes, means = member.sum(dim=1), []
    for start in range(0, len(found), _BLOCK):
        common = member[start : start + _BLOCK] @ member.T
        union = sizes[start : start + _BLOCK, None] + sizes - common
        distance = torch.where(union > 0, 1 - common / union.clamp(min=1), 0.0)
        own = torch.arange(len(distance))
        distance[own, start + own] = torch.inf  # itself
        means.append(distance.topk(neighbours, dim=1, largest=False).values.mean(dim=1))
    return float(torch.cat(means).mean())


def _shares(codes: EntityCodes) -> Tensor:
    """Share of the entities that have each distinct set: float64, their sum 1."""
    sets = codes.codes.masked_fill(codes.weights == 0, -1).sort(dim=1).values
    # A repeated codeword counts once, so that equal sets are equal rows.
    repeated = torch.cat(
        [torch.zeros_like(sets[:, :1], dtype=torch.bool), sets[:, 1:] == sets[:, :-1]], dim=1
    )
    counts = sets.masked_fill(repeated, -1).sort(dim=1).values.unique(dim=0, return_counts=True)[1]
    return counts.double() / counts.sum()
