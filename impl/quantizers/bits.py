"""Parts of the sign quantizers: bits to integers, entropies of soft bits without a table of 2^D codes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.collectives import averaged


def bits_to_codes(bits: Tensor) -> Tensor:
    """Return the integers (N, 1), int64, whose binary digits are bits (N, D) bool, first column lowest."""
    places = 2 ** torch.arange(bits.shape[1], device=bits.device)
    return (bits * places).sum(dim=1, keepdim=True)


def codes_to_signs(codes: Tensor, dim: int) -> Tensor:
    """Return +-1 in float32 (N, D) for codes (N, 1): the inverse of `bits_to_codes`."""
    return (codes >> torch.arange(dim, device=codes.device) & 1).float() * 2 - 1


def split_codes(codes: Tensor, widths: Sequence[int]) -> Tensor:
    """Return codes (..., 1) of D bits as M smaller ones (..., M), of widths[m] bits each, lowest bits first."""
    starts = torch.tensor([0, *widths[:-1]], device=codes.device).cumsum(0)
    sizes = 2 ** torch.tensor(list(widths), device=codes.device)
    return (codes >> starts) % sizes


def join_codes(parts: Tensor, widths: Sequence[int]) -> Tensor:
    """Return the codes (..., 1) that `split_codes` made parts (..., M) of."""
    starts = torch.tensor([0, *widths[:-1]], device=parts.device).cumsum(0)
    return (parts << starts).sum(dim=-1, keepdim=True)


def sample_entropy(logits: Tensor) -> Tensor:
    """Mean entropy, in nats, of the soft code of each sample.

    The soft code is a product of independent bits, so its entropy over all 2^D codes is exactly the sum of
    D binary entropies.

    Args:
        logits: (N, D), log-odds of each bit.
    """
    per_bit = F.softplus(logits) - logits * torch.sigmoid(logits)
    return per_bit.sum() / max(len(logits), 1)


def batch_entropy(logits: Tensor, group_size: int) -> Tensor:
    """Entropy, in nats, of the batch's mean soft code over the joined batch of all processes.

    The mean of products of bits is not a product of means, so this one does need the joint distribution. It
    is taken exactly within groups of `group_size` bits and added up over groups: an upper bound of the
    joint entropy, equal to it for one group. A group's distribution is the product of those of its two
    halves, so its mean over the batch is one matrix product of (N, 2^(g/2)) factors: no (N, 2^g) array is
    made. Processes weigh alike: give them equal batches.

    Args:
        logits: (N, D), log-odds of each bit.
        group_size: g, bits a group; the last group may be smaller.
    """
    if len(logits) == 0:
        return logits.sum()
    entropy = logits.new_zeros(())
    for group in logits.split(group_size, dim=1):
        low, high = group[:, : group.shape[1] // 2], group[:, group.shape[1] // 2 :]
        mean = averaged(_soft_codes(low).T @ _soft_codes(high) / len(logits))
        # p log p has slope -inf at 0, which times the zero slope of a saturated sigmoid would be NaN.
        mean = mean.clamp(min=torch.finfo(mean.dtype).tiny)
        entropy = entropy - torch.xlogy(mean, mean).sum()
    return entropy


def _soft_codes(logits: Tensor) -> Tensor:
    """Probabilities (N, 2^g) of all codes of g independent bits with log-odds (N, g)."""
    probabilities = logits.new_ones(len(logits), 1)
    for bit in torch.sigmoid(logits).unbind(1):
        pair = torch.stack([1 - bit, bit], dim=1)
        probabilities = (pair[:, :, None] * probabilities[:, None, :]).flatten(1)
    return probabilities


def checked_bits(dim: int, group_size: int) -> tuple[int, int]:
    """Return (dim, group size) of a sign quantizer, the group no larger than D.

    Raises:
        ValueError: more than 62 bits, whose codes an int64 does not hold, or a group of more than 24, whose
            table is as large as the one that grouping avoids.
    """
    if dim > 62:
        raise ValueError(
            f"dim must be at most 62 bits for codes in int64, got {dim}: split the latent with a product."
        )
    if group_size > 24:
        raise ValueError(f"entropy_group_size must be at most 24 bits, got {group_size}.")
    return dim, min(group_size, dim)
