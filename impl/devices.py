"""Where a run computes: device, precision, processes, and the random numbers of each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState

PRECISIONS = ("no", "bf16", "fp16")
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"


def devices() -> list[str]:
    """List the names of this machine's devices: "cpu", and "cuda", "cuda:0", ... or "mps" where present."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names += ["mps"]
    return names


@contextmanager
def accelerator_for(device: str | torch.device = "cpu", precision: str = "no") -> Iterator[Accelerator]:
    """Make an `Accelerator` for one run, and put back afterwards what the caller had.

    Accelerate keeps device and precision in global state that refuses to change: without this a notebook
    could not train once in float32 and once in bfloat16. torch's global random generators, too, are given
    back as they were.

    Args:
        device: one of `devices()`; under `accelerate launch` or `torchrun` "cuda" is each process's own.
        precision: "no" (float32), "bf16", or "fp16" (not on the CPU).

    Raises:
        ValueError: a device that this machine lacks or that is not the launcher's, or an illegal precision.
    """
    name = _checked(device, precision)
    kept = [(state, dict(state._shared_state)) for state in (AcceleratorState, PartialState, GradientState)]
    variable = os.environ.get(_DEVICE_VARIABLE)
    try:
        for state, _ in kept:
            state._shared_state.clear()
        if name != "cuda":
            os.environ[_DEVICE_VARIABLE] = name
        # Some parameters may take no part in a step: the codebooks that quantizer dropout skips.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        accelerator = Accelerator(cpu=name == "cpu", mixed_precision=precision, kwargs_handlers=[unused])
        if accelerator.device.type != torch.device(name).type:
            raise ValueError(f"device must be {accelerator.device.type!r}, as it was launched, got {name!r}")
        on_gpu = [accelerator.device] if accelerator.device.type == "cuda" else []
        with torch.random.fork_rng(on_gpu):
            yield accelerator
    finally:
        for state, shared in kept:
            state._shared_state.clear()
            state._shared_state.update(shared)
        os.environ.pop(_DEVICE_VARIABLE, None)
        if variable is not None:
            os.environ[_DEVICE_VARIABLE] = variable


def seed_step(seed: int, step: int, process: int, device: torch.device) -> None:
    """Make what is drawn from torch's global generators a function of (seed, step, process).

    A run that does so in every step has no random state to save: one that resumes draws the same numbers.
    """
    state = int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0])
    # Not torch.manual_seed, which walks the stack at every call for a CUDA that was never woken.
    torch.default_generator.manual_seed(state)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(state)
    elif device.type == "mps":
        torch.mps.manual_seed(state)


def _checked(device: str | torch.device, precision: str) -> str:
    name = str(device)
    if name not in devices():
        raise ValueError(f"device must be one of {', '.join(devices())} on this machine, got {name!r}")
    if ":" in name and "LOCAL_RANK" in os.environ:
        raise ValueError(
            f"device must not be numbered under a launcher, which gives one to each process, got {name!r}"
        )
    legal = [each for each in PRECISIONS if each != "fp16" or name != "cpu"]
    if precision not in legal:
        raise ValueError(f"precision must be one of {', '.join(legal)} on {name}, got {precision!r}")
    return name
