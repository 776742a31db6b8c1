import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from impl import checkpoints
from impl.data.batches import batch_indices
from impl.training import train

ROOT = Path(__file__).parents[1]


class Output(NamedTuple):
    prediction: Tensor
    losses: dict[str, Tensor]


class Autoencoder(nn.Module):
    """Linear, with all that makes a resumption hard: dropout, noise, a moving average, a frozen weight."""

    def __init__(self, dropout: float = 0.3):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(6, 3)
        self.decoder = nn.Linear(3, 6)
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("average", torch.zeros(3))

    def forward(self, batch: Tensor) -> Output:
        latents = self.dropout(self.encoder(batch))
        if self.training and self.dropout.p:
            with torch.no_grad():
                self.average.lerp_(latents.mean(0) + 0.1 * torch.randn(3), 0.1)
        prediction = self.decoder(latents + self.average) * self.frozen
        return Output(
            prediction,
            {
                "reconstruction": (prediction - batch).square().mean(),
                "size": 0.01 * latents.square().mean(),
            },
        )


class Opaque:
    """An output in which no one would look for tensors."""

    def __init__(self, losses):
        self.losses = losses


class Sometimes(Autoencoder):
    """Half of its parameters take no part in every other step."""

    def __init__(self):
        super().__init__(dropout=0)
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        if self.calls % 2:
            return Opaque({"loss": self.encoder(batch).square().mean()})
        return Opaque({"loss": super().forward(batch).losses["reconstruction"]})


class Lossy(nn.Module):
    """Returns whatever losses it is told to."""

    def __init__(self, losses):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.make = losses

    def forward(self, batch):
        return Output(batch, self.make(self, batch))


DATA = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
SETTINGS = {"batch_size": 8, "learning_rate": 0.01, "seed": 3}


def same_state(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_is_adam_on_the_sum_of_the_losses_over_the_stated_batches():
    model, reference = Autoencoder(0), Autoencoder(0)
    history = train(model, DATA, steps=12, **SETTINGS)
    parameters = [parameter for parameter in reference.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    totals = []
    for step in range(12):
        loss = sum(reference(DATA[batch_indices(step, 50, 8, seed=3)]).losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert same_state(model, reference)
    assert history.total == pytest.approx(totals, rel=1e-6)
    assert {name: len(values) for name, values in history.losses.items()} == {
        "reconstruction": 12,
        "size": 12,
    }


def test_training_lowers_the_loss():
    history = train(Autoencoder(0), DATA, steps=300, batch_size=16, learning_rate=0.01)
    assert sum(history.total[-20:]) < 0.7 * sum(history.total[:20])


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    models = [Autoencoder() for _ in range(3)]
    histories = []
    for model, seed in zip(models, (3, 3, 4), strict=True):
        torch.rand(7)  # the caller's random numbers are of no influence
        histories.append(train(model, DATA, steps=10, **{**SETTINGS, "seed": seed}))
    assert same_state(models[0], models[1])
    assert histories[0] == histories[1]
    assert not same_state(models[0], models[2])


def test_the_model_comes_back_in_evaluation_mode_without_gradients_and_the_caller_keeps_the_generator():
    torch.manual_seed(5)
    expected = torch.rand(2)
    model = Autoencoder()
    torch.manual_seed(5)
    train(model, DATA, steps=2)
    assert torch.equal(torch.rand(2), expected)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert type(model).forward is Autoencoder.forward
    assert "forward" not in vars(model)


@pytest.mark.parametrize("stop", [1, 9, 10, 19])
def test_a_run_that_dies_and_resumes_ends_with_the_bits_of_one_that_did_not(tmp_path, stop):
    straight, measure = Autoencoder(), (lambda step, model, output: {"step squared": step**2})
    expected = train(straight, DATA, steps=20, on_step=measure, **SETTINGS)

    def dies(step, model, output):
        if step == stop:
            raise KeyboardInterrupt
        return measure(step, model, output)

    path = tmp_path / "run.safetensors"
    settings = {**SETTINGS, "checkpoint": path, "checkpoint_every": 4}
    with pytest.raises(KeyboardInterrupt):
        train(Autoencoder(), DATA, steps=20, on_step=dies, **settings)
    assert path.exists() == (stop > 4)
    resumed = Autoencoder()
    nn.init.zeros_(resumed.encoder.weight)  # what is resumed does not depend on how the model was built
    if stop <= 4:
        resumed = Autoencoder()
    seen = []
    history = train(
        resumed,
        DATA,
        steps=20,
        on_step=lambda step, model, output: seen.append(step) or measure(step, model, output),
        **settings,
    )
    assert same_state(resumed, straight)
    assert history == expected
    assert seen == list(range((stop - 1) // 4 * 4 + 1, 21))


def test_a_process_killed_outright_resumes_to_the_same_bits(tmp_path):
    script = (
        "import os, signal, sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]\n"
        "from test_training import *\n"
        "kill = lambda step, *_: os.kill(os.getpid(), signal.SIGKILL) if step == 13 else None\n"
        "run = dict(steps=20, checkpoint=sys.argv[3], checkpoint_every=5, **SETTINGS)\n"
        "train(Autoencoder(), DATA, on_step=kill, **run)\n"
    )
    path = tmp_path / "run.safetensors"
    killed = subprocess.run(
        [sys.executable, "-c", script, str(ROOT), str(Path(__file__).parent), str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert killed.returncode == -9
    assert checkpoints.load(path)[1]["step"] == 10
    straight, resumed = Autoencoder(), Autoencoder()
    train(straight, DATA, steps=20, **SETTINGS)
    train(resumed, DATA, steps=20, checkpoint=path, checkpoint_every=5, **SETTINGS)
    assert same_state(resumed, straight)


def test_a_finished_run_is_loaded_and_a_longer_one_continued(tmp_path):
    path = tmp_path / "run.safetensors"
    first, again, longer, straight = (Autoencoder() for _ in range(4))
    history = train(first, DATA, steps=6, checkpoint=path, **SETTINGS)
    assert train(again, DATA, steps=6, checkpoint=path, **SETTINGS) == history
    assert same_state(first, again)
    train(longer, DATA, steps=11, checkpoint=path, **SETTINGS)
    train(straight, DATA, steps=11, **SETTINGS)
    assert same_state(longer, straight)
    with pytest.raises(ValueError, match=r"steps must be at least the 11 that .* has behind it, got 6"):
        train(first, DATA, steps=6, checkpoint=path, **SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 4), ("batch_size", 16), ("learning_rate", 0.02), ("precision", "bf16")],
)
def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path, name, value):
    path = tmp_path / "run.safetensors"
    train(Autoencoder(), DATA, steps=2, checkpoint=path, **SETTINGS)
    with pytest.raises(
        ValueError, match=rf"^{name} must be .* as in the checkpoint .*, got {value!r}: resume"
    ):
        train(Autoencoder(), DATA, steps=4, checkpoint=path, **{**SETTINGS, name: value})


def test_a_checkpoint_of_other_data_another_model_or_another_kind_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(Autoencoder(), DATA, steps=2, checkpoint=path, **SETTINGS)
    with pytest.raises(ValueError, match="samples must be 50 as in the checkpoint"):
        train(Autoencoder(), DATA[:40], steps=4, checkpoint=path, **SETTINGS)
    other = Autoencoder()
    other.decoder = nn.Linear(3, 6, bias=False)
    with pytest.raises(
        ValueError, match=r"model must be that of .* its decoder\.bias is no tensor, there \(6,\)"
    ):
        train(other, DATA, steps=4, checkpoint=path, **SETTINGS)
    checkpoints.save(path, Autoencoder(), {"dim": 6})
    with pytest.raises(ValueError, match="is of another kind"):
        train(Autoencoder(), DATA, steps=4, checkpoint=path, **SETTINGS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(checkpoints.CheckpointError):
        train(Autoencoder(), DATA, steps=4, checkpoint=path, **SETTINGS)


def test_on_step_sees_every_step_and_cannot_disturb_the_run():
    quiet, watched, seen = Autoencoder(), Autoencoder(), []

    def watch(step, model, output):
        assert model is watched
        seen.append((step, tuple(output.prediction.shape)))
        model.eval()
        torch.manual_seed(0)
        return {"error": torch.tensor(0.5 * step)} if step % 3 == 0 else None

    train(quiet, DATA, steps=7, **SETTINGS)
    history = train(watched, DATA, steps=7, on_step=watch, **SETTINGS)
    assert same_state(quiet, watched)
    assert seen == [(step, (8, 6)) for step in range(1, 8)]
    assert history.metrics == [{"step": 3, "error": 1.5}, {"step": 6, "error": 3.0}]


def test_data_may_be_any_indexable():
    tensor, listed = Autoencoder(), Autoencoder()
    train(tensor, DATA, steps=4, **SETTINGS)
    train(listed, [row.clone() for row in DATA], steps=4, **SETTINGS)
    assert same_state(tensor, listed)


def test_bf16_autocasts_the_model_and_keeps_float32_weights():
    dtypes = []
    model = Autoencoder(0)
    model.encoder.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    history = train(model, DATA, steps=100, batch_size=16, learning_rate=0.01, precision="bf16")
    assert set(dtypes) == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert history.total[-1] < history.total[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_gpu_run_resumes_to_the_same_bits(tmp_path, precision):
    settings = {**SETTINGS, "device": "cuda", "precision": precision}
    straight, resumed, path = Autoencoder(), Autoencoder(), tmp_path / "run.safetensors"
    straight.dropout.p = resumed.dropout.p = 0  # its noise is drawn on the CPU
    expected = train(straight, DATA, steps=8, **settings)
    train(resumed, DATA, steps=5, checkpoint=path, **settings)
    assert train(resumed, DATA, steps=8, checkpoint=path, **settings) == expected
    assert same_state(resumed, straight)


class Terminal:
    def __init__(self, is_terminal: bool):
        self.is_terminal, self.text, self.encoding = is_terminal, "", "utf-8"

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_the_bar_shows_loss_and_metrics_on_a_terminal_and_nothing_elsewhere(monkeypatch, capsys):
    def run(is_terminal, progress):
        terminal = Terminal(is_terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        train(Autoencoder(), DATA, steps=3, progress=progress, on_step=lambda *_: {"usage": 0.25})
        return terminal.text

    shown = run(is_terminal=True, progress=True)
    assert "3/3" in shown
    assert "loss=" in shown
    assert "usage=0.25" in shown
    assert run(is_terminal=False, progress=True) == ""
    assert run(is_terminal=True, progress=False) == ""
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_losses(tmp_path, poison):
    def losses(model, batch):
        model.calls = getattr(model, "calls", 0) + 1
        return {"good": model.weight * 1.0, "bad": model.weight * (poison if model.calls == 3 else 2.0)}

    model, path = Lossy(losses), tmp_path / "run.safetensors"
    with pytest.raises(FloatingPointError, match=rf"not finite at step 3: good = 0\.99\d*, bad = {poison}"):
        train(model, DATA, steps=5, checkpoint=path, checkpoint_every=1)
    assert model.weight.isfinite()
    assert checkpoints.load(path)[1]["step"] == 2


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        (lambda model, batch: {}, TypeError, "whose .losses is a dictionary of scalar tensors"),
        (lambda model, batch: [model.weight], TypeError, "whose .losses is a dictionary of scalar tensors"),
        (
            lambda model, batch: {"a": batch},
            TypeError,
            r"the loss 'a' must be a scalar tensor, got \(64, 6\)",
        ),
        (lambda model, batch: {"a": 1.0}, TypeError, "the loss 'a' must be a scalar tensor, got float"),
        (lambda model, batch: {"a": torch.ones(())}, ValueError, "must depend on a trainable parameter"),
    ],
)
def test_losses_that_cannot_be_added_up_are_named(losses, error, message):
    with pytest.raises(error, match=message):
        train(Lossy(losses), DATA, steps=1)


def test_an_output_without_losses_is_named():
    with pytest.raises(TypeError, match=r"whose \.losses is a dictionary of scalar tensors, got Tensor"):
        train(nn.Linear(6, 6), DATA, steps=1)


def test_losses_that_change_their_names_are_refused():
    def losses(model, batch):
        model.calls = getattr(model, "calls", 0) + 1
        return {"a" if model.calls == 1 else "b": model.weight * 1.0}

    with pytest.raises(ValueError, match="the losses must be a in every step, got b at step 2"):
        train(Lossy(losses), DATA, steps=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 1.5}, r"steps must be a whole number of at least 1, got 1\.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a whole number of at least 1, got 0"),
        ({"learning_rate": 0}, "learning_rate must be a positive number, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number, got nan"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a positive number, got '1e-3'"),
        ({"device": "foo"}, r"device must be one of cpu.*, got 'foo'"),
        ({"device": "cuda:99"}, r"device must be one of cpu.*, got 'cuda:99'"),
        ({"precision": "fp16"}, "precision must be one of no, bf16 on cpu, got 'fp16'"),
        ({"data": DATA[:0]}, "data must hold at least one sample, got none"),
        ({"model": nn.Flatten()}, "model must have a trainable parameter, got none"),
    ],
)
def test_an_illegal_argument_is_one_sentence(change, message):
    arguments = {"model": Autoencoder(), "data": DATA, "steps": 1, **change}
    with pytest.raises(ValueError, match=message):
        train(**arguments)


def test_data_without_a_length_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(
        TypeError, match="data must be a tensor or another indexable with a length, got generator"
    ):
        train(Autoencoder(), (row for row in DATA), steps=1)
    with pytest.raises(FileNotFoundError, match="checkpoint must lie in an existing folder"):
        train(Autoencoder(), DATA, steps=1, checkpoint=tmp_path / "no" / "run.safetensors")


PARALLEL = """
import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]
import torch
from test_training import *
torch.set_num_threads(1)
folder = Path(sys.argv[3])
settings = {**SETTINGS, "progress": False}

model = Sometimes()
history = train(model, DATA, steps=6, **settings)
rank = torch.distributed.get_rank()
assert torch.distributed.get_world_size() == 2
checkpoints.save(folder / f"{rank}.safetensors", model, {"total": history.total})

# With noise of its own in each process: straight, and stopped and resumed from the file of the main process.
straight, resumed = Autoencoder(), Autoencoder()
train(straight, DATA, steps=6, **settings)
train(Autoencoder(), DATA, steps=3, checkpoint=folder / "run.safetensors", **settings)
train(resumed, DATA, steps=6, checkpoint=folder / "run.safetensors", **settings)
assert same_state(straight, resumed)
for parameter in straight.parameters():
    other = parameter.detach().clone()
    torch.distributed.broadcast(other, 0)
    assert torch.equal(parameter, other)

try:
    train(Autoencoder(), DATA, steps=1, batch_size=9, progress=False)
except ValueError as error:
    assert "batch_size must be divisible by the 2 processes, got 9" in str(error)
else:
    raise AssertionError("an indivisible batch was accepted")

# A loss that is not finite in one process stops both.
poison = lambda model, batch: {"a": model.weight * (math.nan if rank else 1.0)}
try:
    train(Lossy(poison), DATA, steps=1, batch_size=8, progress=False)
except FloatingPointError:
    (folder / f"stopped{rank}").touch()
torch.distributed.destroy_process_group()
"""


LAUNCHERS = {
    "torchrun": "torch.distributed.run --standalone --nproc_per_node=2",
    # What `accelerate launch` does on two GPUs; the script itself says that it wants the CPU.
    "accelerate": "accelerate.commands.launch --multi_gpu --num_processes=2 --num_machines=1 "
    "--mixed_precision=no --dynamo_backend=no --main_process_port=0",
}


@pytest.mark.parametrize("launcher", [line.split() for line in LAUNCHERS.values()], ids=list(LAUNCHERS))
def test_two_processes_end_where_one_does_on_the_joined_batches(tmp_path, launcher):
    script = tmp_path / "script.py"
    script.write_text(PARALLEL)
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(script), str(ROOT), str(Path(__file__).parent), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    states = [checkpoints.load(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    for name, tensor in states[0][0].items():
        assert torch.equal(tensor, states[1][0][name]), name
    assert states[0][1] == states[1][1]
    single = Sometimes()
    history = train(single, DATA, steps=6, **SETTINGS)
    for name, tensor in single.state_dict().items():
        torch.testing.assert_close(states[0][0][name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    assert states[0][1]["total"] == pytest.approx(history.total, rel=1e-5)
    assert (tmp_path / "stopped0").exists()
    assert (tmp_path / "stopped1").exists()
