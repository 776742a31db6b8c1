"""Training: one loop for everything in this project.

A model is called with a batch and returns an object whose `.losses` is a dictionary of named scalars, already
weighted. The loop adds them up and takes Adam steps. Everything random is a function of the seed and the
step, so a run that was stopped and resumed ends with the same bits as one that was not (on a GPU as far as
its kernels are deterministic). `accelerate` supplies the device, the precision and the processes: a script
that calls `train` runs under `accelerate launch` or `torchrun` unchanged. (On processors alone several
processes need `torchrun`: there `accelerate launch --cpu` starts one, or asks for MPI.)
"""

import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from tqdm import tqdm

from impl import checkpoints
from impl.data.batches import batch_indices, take
from impl.devices import accelerator_for, seed_step

OnStep = Callable[[int, nn.Module, Any], Mapping[str, float] | None]


@dataclass
class History:
    """What a run measured, the steps before a resumption included.

    Attributes:
        losses: name -> one value per step, the mean over all processes.
        metrics: what `on_step` returned, a row for each step at which it returned something, with its "step".
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    metrics: list[dict[str, float]] = field(default_factory=list)

    @property
    def total(self) -> list[float]:
        """The sum of the losses, one value per step."""
        return [math.fsum(values) for values in zip(*self.losses.values(), strict=True)]


def train(
    model: nn.Module,
    data: Any,
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    precision: str = "no",
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
    on_step: OnStep | None = None,
) -> History:
    """Train a model in place with Adam; it is left on `device` and in evaluation mode.

    Args:
        model: `model(batch).losses` is a dictionary of named scalars. What it draws at random comes from
            torch's global generators, which the caller gets back as they were.
        data: a tensor (N, ...), or any indexable of length N, whose items are stacked to batches.
        steps: steps in all, those before a resumption included.
        batch_size: samples of a step over all processes; each process takes an equal slice.
        learning_rate: of Adam.
        seed: decides the order of the samples and what the model draws; initial weights are the caller's.
        device: "cpu", "cuda", "cuda:1", "mps". Under a launcher "cuda" is each process's own.
        precision: "no" (float32), or autocast to "bf16" or "fp16" (not on the CPU).
        checkpoint: a file that every process sees. Where it exists the run resumes from it, exactly.
        checkpoint_every: steps between two writes of it; it is written at the end as well.
        progress: show a progress bar on a terminal; a notebook or a log never gets one.
        on_step: called as `on_step(step, model, output)` after each step (from 1), in the main process. What
            it returns is kept in the history and shown on the bar. It may call `model.eval()` and draw.

    Raises:
        ValueError: an illegal argument, a model without trainable parameters, or a checkpoint that is
            damaged, of other settings or of another model.
        TypeError: data without a length, or an output without a dictionary of scalar losses.
        FileNotFoundError: the checkpoint's folder does not exist.
        FloatingPointError: a loss that is not finite, named with its step.
    """
    _check(model, data, steps, batch_size, learning_rate, seed, checkpoint, checkpoint_every)
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
    }
    with accelerator_for(device, precision) as accelerator:
        run = _Run(accelerator, model, len(data), settings, checkpoint)
        first = run.resume(steps)
        shown = progress and accelerator.is_main_process and sys.stderr.isatty()
        with tqdm(total=steps, initial=first, disable=not shown, unit="step") as bar:
            for step in range(first, steps):
                seed_step(seed, step, accelerator.process_index, accelerator.device)
                output = run.step(run.batch(data, step))
                measured = run.measure(on_step, output)
                bar.set_postfix({"loss": math.fsum(run.values.values()), **measured}, refresh=False)
                bar.update()
                if checkpoint is not None and ((step + 1) % checkpoint_every == 0 or step + 1 == steps):
                    run.save()
        run.optimizer.zero_grad()
        model.eval()
    return run.history


class _WithLosses(nn.Module):
    """Hands out the losses as a plain dictionary: data-parallel training finds them there in any output."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> tuple[dict[str, Tensor], Any]:
        """Return the model's losses, and its whole output.

        Raises:
            TypeError: the output has no losses.
        """
        output = self.model(batch)
        losses = getattr(output, "losses", None)
        if not isinstance(losses, Mapping) or not losses:
            raise TypeError(
                "model(batch) must return an object whose .losses is a dictionary of scalar tensors, "
                f"got {type(output).__name__} with losses {losses!r}"
            )
        for name, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.ndim:
                given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
                raise TypeError(f"the loss {name!r} must be a scalar tensor, got {given}")
        return dict(losses), output


class _Run:
    """A run under way: model, optimizer and history, and their passage to and from a checkpoint."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        samples: int,
        settings: dict[str, Any],
        path: str | os.PathLike | None,
    ):
        self.accelerator = accelerator
        self.settings = {**settings, "samples": samples, "processes": accelerator.num_processes}
        if settings["batch_size"] % accelerator.num_processes:
            raise ValueError(
                f"batch_size must be divisible by the {accelerator.num_processes} processes, "
                f"got {settings['batch_size']}"
            )
        self.path = path
        self.model = model.to(accelerator.device)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trainable, settings["learning_rate"])
        self.wrapped, self.optimizer = accelerator.prepare(_WithLosses(model), optimizer)
        self.done = 0
        self.values: dict[str, float] = {}
        self.history = History()

    def batch(self, data: Any, step: int) -> Any:
        """This process's slice of the batch of a step, on its device."""
        indices = batch_indices(
            step, self.settings["samples"], self.settings["batch_size"], self.settings["seed"]
        )
        indices = indices.chunk(self.settings["processes"])[self.accelerator.process_index]
        return send_to_device(take(data, indices), self.accelerator.device)

    def step(self, batch: Any) -> Any:
        """Take one step, note its losses and give the model's output."""
        self.model.train()
        losses, output = self.wrapped(batch)
        # Averaged before they are judged: if one process must stop, all of them do.
        means = self.accelerator.reduce(
            torch.stack([loss.detach().float() for loss in losses.values()]), "mean"
        )
        self.values = dict(zip(losses, means.tolist(), strict=True))
        if not all(map(math.isfinite, self.values.values())):
            stated = ", ".join(f"{name} = {value}" for name, value in self.values.items())
            raise FloatingPointError(f"a loss is not finite at step {self.done + 1}: {stated}")
        if self.done and list(losses) != list(self.history.losses):
            raise ValueError(
                f"the losses must be {', '.join(self.history.losses)} in every step, "
                f"got {', '.join(losses)} at step {self.done + 1}"
            )
        total = sum(losses.values())
        if not total.requires_grad:
            raise ValueError(f"a loss must depend on a trainable parameter, none of {', '.join(losses)} does")
        self.optimizer.zero_grad()
        self.accelerator.backward(total)
        self.optimizer.step()
        self.done += 1
        for name, value in self.values.items():
            self.history.losses.setdefault(name, []).append(value)
        return output

    def measure(self, on_step: OnStep | None, output: Any) -> dict[str, float]:
        """Call `on_step` in the main process and note what it returns."""
        if on_step is None or not self.accelerator.is_main_process:
            return {}
        row = {name: float(value) for name, value in (on_step(self.done, self.model, output) or {}).items()}
        if row:
            self.history.metrics.append({"step": self.done, **row})
        return row

    def save(self) -> None:
        """Write the checkpoint, in the main process."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
                "losses": {
                    name: torch.tensor(values, dtype=torch.float64)
                    for name, values in self.history.losses.items()
                },
                "metrics": self.history.metrics,
            }
            config = {"kind": "training", "step": self.done, "settings": self.settings}
            checkpoints.save(self.path, state, config)
        self.accelerator.wait_for_everyone()

    def resume(self, steps: int) -> int:
        """Take up the checkpoint if there is one; give the number of steps that it has behind it."""
        if self.path is not None and Path(self.path).exists():
            state, config = checkpoints.load(self.path)
            _check_checkpoint(self.path, config, self.settings, steps)
            _check_same_model(self.path, self.model.state_dict(), state["model"])
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            losses = {name: values.tolist() for name, values in state["losses"].items()}
            self.history, self.done = History(losses, state["metrics"]), config["step"]
        seen = self.accelerator.gather(torch.tensor([self.done], device=self.accelerator.device))
        if len(seen.unique()) > 1:
            raise ValueError(f"checkpoint must be a file that every process sees, {self.path} is not")
        return self.done


def _check_checkpoint(
    path: str | os.PathLike, config: dict[str, Any], settings: dict[str, Any], steps: int
) -> None:
    if config.get("kind") != "training":
        raise ValueError(f"checkpoint must name a file that train() wrote, {path} is of another kind")
    for name, value in settings.items():
        before = config["settings"].get(name)
        if before != value:
            raise ValueError(
                f"{name} must be {before!r} as in the checkpoint {path}, got {value!r}: "
                "resume with the same settings, or name another file"
            )
    if config["step"] > steps:
        raise ValueError(
            f"steps must be at least the {config['step']} that {path} has behind it, got {steps}"
        )


def _check_same_model(path: str | os.PathLike, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    def shape(state: dict[str, Any], name: str) -> str:
        return str(tuple(state[name].shape)) if isinstance(state.get(name), Tensor) else "no tensor"

    for name in [*ours, *(name for name in theirs if name not in ours)]:
        shapes = shape(ours, name), shape(theirs, name)
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"model must be that of the checkpoint {path}: its {name} is {shapes[0]}, there {shapes[1]}"
            )


def _check(
    model: nn.Module,
    data: Any,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    checkpoint: str | os.PathLike | None,
    checkpoint_every: int,
) -> None:
    least = {"steps": 1, "batch_size": 1, "seed": 0, "checkpoint_every": 1}
    for (name, bound), value in zip(least.items(), (steps, batch_size, seed, checkpoint_every), strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < bound:
            raise ValueError(f"{name} must be a whole number of at least {bound}, got {value!r}")
    if not isinstance(learning_rate, (int, float)) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a positive number, got {learning_rate!r}")
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise TypeError(
            f"data must be a tensor or another indexable with a length, got {type(data).__name__}"
        )
    if not len(data):
        raise ValueError("data must hold at least one sample, got none")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model must have a trainable parameter, got none")
    if checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise FileNotFoundError(f"checkpoint must lie in an existing folder, got {str(checkpoint)!r}")
