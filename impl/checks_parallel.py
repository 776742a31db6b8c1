"""The law of data-parallel training: two processes end with the codebook that one makes of the joined
batch.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn

from impl.checks import latents
from impl.laws import LawError, same_state
from impl.quantizers.base import Quantizer

PROCESSES, STEPS, ROWS = 2, 3, 32


def check_data_parallel(quantizers: Sequence[type[Quantizer]]) -> None:
    """Train each `tiny()` on halves of a batch in two gloo processes and on the whole in one; compare the
    states.

    All quantizers share one pair of processes, because starting them costs more than the law. Processes
    must agree bit for bit with each other, and with the single one up to the order of float32 sums.

    Raises:
        LawError: naming the quantizers whose states differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A file, not a port: nothing to collide with.
        multiprocessing.spawn(_worker, (list(quantizers), folder), nprocs=PROCESSES)
        states = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
    failures = []
    for quantizer in quantizers:
        name = quantizer.__name__
        single, (first, second) = _train(quantizer, 0, 1), (state[name] for state in states)
        if not same_state(first, second):
            failures.append(f"{name}: the processes hold different states")
        for key, tensor in single.items():
            if not torch.allclose(tensor.double(), first[key].double(), rtol=1e-4, atol=1e-5):
                worst = (tensor.double() - first[key].double()).abs().max()
                failures.append(f"{name}: {key} differs from one process by up to {worst:.2g}")
    if failures:
        raise LawError("data-parallel training is not training on the joined batch:\n" + "\n".join(failures))


def _worker(rank: int, quantizers: list[type[Quantizer]], folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES
    )
    try:
        states = {quantizer.__name__: _train(quantizer, rank, PROCESSES) for quantizer in quantizers}
        torch.save(states, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def _train(quantizer: type[Quantizer], rank: int, processes: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    tiny = quantizer.tiny().train()
    module: nn.Module = tiny
    if processes > 1 and any(parameter.requires_grad for parameter in tiny.parameters()):
        module = nn.parallel.DistributedDataParallel(tiny)
    for step in range(STEPS):
        rows = slice(rank * ROWS // processes, (rank + 1) * ROWS // processes)
        output = module(latents(tiny, ROWS, seed=step)[rows].requires_grad_())
        sum(output.losses.values(), output.latents.square().mean()).backward()
        with torch.no_grad():
            for parameter in tiny.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
                    parameter.grad = None
    return {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
