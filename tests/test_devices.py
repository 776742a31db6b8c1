import os

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from impl.devices import accelerator_for, devices, seed_step


def test_the_cpu_is_always_there_and_every_device_is_usable():
    assert "cpu" in devices()
    for name in devices():
        with accelerator_for(name) as accelerator:
            assert accelerator.device.type == torch.device(name).type


@pytest.mark.parametrize("device", ["cuda:99", "foo", "", "cpu:0:1", torch.device("meta"), None])
def test_an_unknown_device_is_one_sentence_with_the_legal_ones(device):
    with (
        pytest.raises(ValueError, match=r"^device must be one of cpu.* on this machine, got '[^']*'$"),
        accelerator_for(device),
    ):
        pass


@pytest.mark.parametrize("precision", ["fp16", "fp8", "float32", None])
def test_an_illegal_precision_is_one_sentence_with_the_legal_ones(precision):
    with (
        pytest.raises(ValueError, match=rf"^precision must be one of no, bf16 on cpu, got {precision!r}$"),
        accelerator_for("cpu", precision),
    ):
        pass


def test_a_numbered_device_is_refused_under_a_launcher(monkeypatch):
    monkeypatch.setattr("impl.devices.devices", lambda: ["cpu", "cuda", "cuda:0", "cuda:1"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    with (
        pytest.raises(ValueError, match=r"device must not be numbered under a launcher, .* got 'cuda:1'"),
        accelerator_for("cuda:1"),
    ):
        pass


def test_precision_may_change_from_run_to_run():
    for precision in ("no", "bf16", "no"):
        with accelerator_for("cpu", precision) as accelerator:
            assert accelerator.mixed_precision == precision
            with accelerator.autocast():
                product = torch.ones(2, 2) @ torch.ones(2, 2)
            assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_the_callers_accelerator_and_environment_survive(monkeypatch):
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "cpu")
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        own = Accelerator(cpu=True)
        with accelerator_for("cpu", "bf16"):
            pass
        assert own.mixed_precision == "no"
        assert own.device.type == "cpu"
        assert os.environ["ACCELERATE_TORCH_DEVICE"] == "cpu"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(RuntimeError), accelerator_for("cpu"):
        raise RuntimeError
    assert PartialState._shared_state == {}


def test_the_callers_random_numbers_are_not_disturbed():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with accelerator_for("cpu") as accelerator:
        seed_step(5, 6, 0, accelerator.device)
        torch.rand(10)
    assert torch.equal(torch.rand(3), expected)


def test_draws_are_a_function_of_seed_step_and_process():
    def draw(*where):
        with accelerator_for("cpu") as accelerator:
            seed_step(*where, accelerator.device)
            return torch.rand(2).tolist()

    assert draw(0, 1, 0) == draw(0, 1, 0)
    draws = [draw(*where) for where in [(0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 0, 0), (2**40, 0, 0)]]
    assert len({tuple(each) for each in draws}) == len(draws)
