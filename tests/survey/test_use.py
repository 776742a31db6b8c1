"""train, tokenize and detokenize from a shell: sound to codes to sound; mistakes end with a sentence."""

import pytest
import torch
from typer.testing import CliRunner

from impl import checkpoints
from impl.data.recordings import read_sound, write_sound
from impl.data.sound import sounds
from survey.cli import app

SMALL = [part for pair in ("width=4", "dim=8", "lstm_layers=0") for part in ("--set", pair)]


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "encodec.safetensors"
    result = call("train", "--system", "encodec", "--data", "speech", "--steps", 2, "--out", path, *SMALL)
    assert result.exit_code == 0, result.output
    return path


def test_sound_to_codes_to_sound(weights, tmp_path):
    waves = tmp_path / "waves"
    waves.mkdir()
    for index, waveform in enumerate(sounds("test", 3, 0.25)):
        write_sound(waves / f"{index}.wav", waveform, 8000)
    options = ("--system", "encodec", "--checkpoint", weights)
    result = call("tokenize", waves, *options, "--out", tmp_path / "codes")
    assert (result.exit_code, result.stderr) == (0, f"3 files tokenized to {tmp_path / 'codes'}\n")
    result = call("detokenize", tmp_path / "codes", *options, "--out", tmp_path / "back")
    assert (result.exit_code, result.stderr) == (0, f"3 files in {tmp_path / 'back'}\n")
    assert read_sound(tmp_path / "back" / "000001-1.wav")[0].shape == (1, 2000)
    (waves / "4.wav").write_bytes(b"no sound")
    result = call("tokenize", waves, *options, "--out", tmp_path / "more")
    assert result.exit_code == 1
    assert "skipped" in result.stderr


def test_training_goes_on_where_it_stopped(weights, tmp_path):
    halves, whole = tmp_path / "halves.safetensors", tmp_path / "whole.safetensors"
    options = ("--system", "encodec", "--data", "speech", *SMALL)
    for path, counts in ((halves, (2, 4)), (whole, (4,))):
        for steps in counts:
            assert call("train", *options, "--steps", steps, "--out", path).exit_code == 0
    (first, _), (second, _) = checkpoints.load(halves), checkpoints.load(whole)
    assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--system", "encodex"), "encodec"),
        (("--system", "rvq"), "no tokenizer"),
        (("--system", "encodec", "--set", "widht=3"), "widht"),
        (("--system", "encodec", "--set", "width"), "NAME=VALUE"),
        (("--system", "encodec", "--set", "width=[1"), "no value"),
    ],
)
def test_mistakes_end_with_a_sentence(arguments, says, tmp_path):
    result = call("train", "--data", "speech", "--out", tmp_path / "x", *arguments)
    # An id that is not in the catalog is "nothing found", as everywhere.
    assert result.exit_code == (1 if "encodex" in arguments else 2)
    assert says in result.stderr
    assert not (tmp_path / "x").exists()
