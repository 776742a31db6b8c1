"""One measurement: ours and its peers in turn on one input, medians of ratios run by run, peak memory, error."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Run = Callable[[], object]


@dataclass
class Case:
    """One piece of work: what it is called, ours and the peers' way to do it.

    Attributes:
        name: of the work.
        ours: does it once.
        peers: how others do it, by name.
        target: for each peer, the ratio of its time over ours that we are to reach.
        error: of what a run returns, where runs may differ in how well they do; None where all do the same.
        heavy: takes so long that it is run once only.
    """

    name: str
    ours: Run
    peers: dict[str, Run] = field(default_factory=dict)
    target: dict[str, float] = field(default_factory=dict)
    error: Callable[[object], float] | None = None
    heavy: bool = False


@dataclass
class Result:
    """Medians over the runs; `ratios` are peers' time over ours, above 1 where ours is faster, `quartiles` theirs."""

    name: str
    seconds: float
    megabytes: float | None
    error: float | None
    ratios: dict[str, float]
    quartiles: dict[str, tuple[float, float]]
    target: dict[str, float]
    peer_megabytes: dict[str, float | None]
    peer_error: dict[str, float]

    def lines(self) -> list[str]:
        """Return the result as text, a line for ours and one for each peer."""
        ours = (
            f"{self.name:<40} {self.seconds * 1e3:10.2f} ms {_memory(self.megabytes):>8}{_error(self.error)}"
        )
        rows = []
        for name, ratio in self.ratios.items():
            between = "{:.2f}-{:.2f}".format(*self.quartiles[name])
            costs = f"{_memory(self.peer_megabytes[name]):>8}{_error(self.peer_error.get(name))}"
            rows.append(f"  {name:<38} {ratio:8.2f} x {between:>16} {_target(self.target.get(name))} {costs}")
        return [ours, *rows]


def training_step(module: nn.Module, latents: Tensor) -> Run:
    """Forward and backward of a quantizer in training mode; moving averages are updated on the way."""
    module.train()

    def run() -> None:
        given = latents.clone().requires_grad_()
        output = module(given)
        if hasattr(output, "losses"):
            loss = sum(output.losses.values(), output.latents.square().mean())
        else:  # vector-quantize-pytorch: (quantized, codes, loss); FSQ has no loss
            loss = output[0].square().mean() + (output[2].sum() if len(output) > 2 else 0)
        loss.backward()

    return run


def evaluation(module: nn.Module, latents: Tensor) -> Run:
    """Forward in evaluation mode without gradients."""
    module.eval()

    def run() -> None:
        with torch.no_grad():
            module(latents)

    return run


def measure(case: Case, runs: int) -> Result:
    """Run ours and each peer in turn, `runs` times after one warm-up (a heavy case once without), and take medians."""
    everyone = {"ours": case.ours, **case.peers}
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    memory, error = {}, {}
    for name, run in everyone.items():
        if not case.heavy:
            run()
        done: list[object] = []
        start = time.perf_counter()
        memory[name] = peak_megabytes(lambda run=run, done=done: done.append(run()))
        if case.heavy:
            seconds[name].append(time.perf_counter() - start)
        if case.error is not None:
            error[name] = case.error(done[0])
    for _ in range(0 if case.heavy else runs):
        for name, run in everyone.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    each = {
        name: [theirs / ours for ours, theirs in zip(seconds["ours"], seconds[name], strict=True)]
        for name in case.peers
    }
    ratios = {name: statistics.median(values) for name, values in each.items()}
    quartiles = {name: tuple(np.quantile(values, (0.25, 0.75)).tolist()) for name, values in each.items()}
    ours, own_error = memory.pop("ours"), error.pop("ours", None)
    taken = statistics.median(seconds["ours"])
    return Result(case.name, taken, ours, own_error, ratios, quartiles, case.target, memory, error)


def peak_megabytes(run: Run) -> float | None:
    """How much the process's resident memory grew at its peak during `run`; None where the system cannot tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # sets the high-water mark to the present size
    except OSError:
        run()
        return None
    before = _kilobytes(status, "VmRSS")
    run()
    return max(0.0, (_kilobytes(status, "VmHWM") - before) / 1024)


def _kilobytes(status: Path, name: str) -> int:
    (line,) = [line for line in status.read_text().splitlines() if line.startswith(name + ":")]
    return int(line.split()[1])


def _memory(megabytes: float | None) -> str:
    return "?" if megabytes is None else f"{megabytes:.0f} MB"


def _error(error: float | None) -> str:
    return "" if error is None else f"  error {error:.4f}"


def _target(target: float | None) -> str:
    return " " * 14 if target is None else f"(target {target:4.4g})"
