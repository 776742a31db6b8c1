"""Statistics over data-parallel processes: with one process each function returns its input."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of data-parallel processes, 1 when torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the sums of the tensors over the processes, in one packed all-reduce."""
    if world_size() == 1:
        return tensors
    packed = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
    dist.all_reduce(packed)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return tuple(
        part.reshape(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)
    )


def averaged(tensor: Tensor) -> Tensor:
    """Return the mean over the processes; its gradient is that of the local tensor.

    Data-parallel training averages gradients, so a local gradient taken at the global mean adds up to the
    gradient of the joined batch.
    """
    if world_size() == 1:
        return tensor
    (total,) = summed(tensor)
    return tensor + (total / world_size() - tensor).detach()


def totalled(tensor: Tensor) -> Tensor:
    """Return the sum over the processes, with its gradient to the tensors of all of them.

    Where gradients have to run through a statistic of the joined batch, as in batch normalisation.
    """
    if world_size() == 1:
        return tensor
    return _AllReduce.apply(tensor)


class _AllReduce(torch.autograd.Function):
    """A sum over processes: each process's loss depends on every summand, so gradients are summed as well."""

    @staticmethod
    def forward(context: object, tensor: Tensor) -> Tensor:
        """Return the sum of all processes' tensors."""
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        """Return the sum of all processes' gradients."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def gathered(vectors: Tensor) -> Tensor:
    """Return the rows of all processes, in rank order. Ranks may hold different numbers of rows."""
    if world_size() == 1:
        return vectors
    sizes = [None] * world_size()
    dist.all_gather_object(sizes, len(vectors))
    padded = vectors.new_zeros(max(sizes), *vectors.shape[1:])
    padded[: len(vectors)] = vectors
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def joined_rows(rows: int) -> tuple[int, int]:
    """Return where this process's rows start in the joined batch, and how many rows that batch has.

    What is drawn for each row (noise, masks) is drawn for the joined batch and cut to these rows: then processes that
    share a seed draw what one process would, and those that do not draw independently.
    """
    if world_size() == 1:
        return 0, rows
    sizes = [None] * world_size()
    dist.all_gather_object(sizes, rows)
    return sum(sizes[: dist.get_rank()]), sum(sizes)


def agreed(value: Tensor) -> Tensor:
    """Return the first process's value on every process, so that a random choice is one choice."""
    if world_size() > 1:
        value = value.clone()
        dist.broadcast(value, src=0)
    return value
