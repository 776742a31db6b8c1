"""What data-parallel statistics cost: a training step of two processes that share them over one that does not."""

import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from impl.quantizers.rvq import ResidualVQ
from impl.speed.measuring import training_step

PROCESSES, STAGES = 2, 8


def overhead(quick: bool) -> dict[str, float]:
    """Return seconds of a step of residual VQ, each process on a batch of its own, with and without sharing.

    Both are measured with two processes at work, so that the difference is the sharing and not the company.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_worker, (folder, quick), nprocs=PROCESSES)
        alone, shared = torch.load(Path(folder) / "seconds.pt", weights_only=True).tolist()
    return {"alone": alone, "shared": shared, "shared over alone": shared / alone}


def _worker(rank: int, folder: str, quick: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, rows, runs = (16, 16, 2) if quick else (1024, 1024, 7)
    quantizer = ResidualVQ(128, size, STAGES, update="ema")
    step = training_step(quantizer, torch.randn(8, rows, 128))
    alone = _median(step, runs)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES
    )
    try:
        shared = _median(step, runs)
        if rank == 0:
            torch.save(torch.tensor([alone, shared]), Path(folder) / "seconds.pt")
    finally:
        dist.destroy_process_group()


def _median(step, runs: int) -> float:
    step()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
