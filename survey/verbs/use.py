"""Verbs that use a tokenizer of the catalog: train it, turn files into codes, codes into files.

The code itself is in impl.corpus; torch is imported only when one of these runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from survey.output import counted, say, stop
from survey.verbs import catalog_of, named

System = Annotated[str, typer.Option(help="The tokenizer's id in the catalog, for example encodec.")]
Checkpoint = Annotated[Path, typer.Option(help="A trained tokenizer, as 'codebook train' writes it.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")]


def train(
    context: typer.Context,
    system: System,
    data: Annotated[
        list[str], typer.Option(help="Files or folders; or speech, sounds, digits, photographs.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write the trained tokenizer to.")],
    steps: Annotated[int, typer.Option(help="Steps of training in all.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Samples a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    piece: Annotated[int, typer.Option(help="Samples, or pixels of a side, of a piece of a file.")] = 2000,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: a number that builds the tokenizer.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
    device: Device = "cpu",
    precision: Annotated[str, typer.Option(help="no, bf16 or fp16.")] = "no",
) -> None:
    """Train a tokenizer. Interrupted, the same call goes on where the last checkpoint was written."""
    target = _target(context, system)
    from impl.corpus import trained
    from impl.corpus.datasets import training_data
    from impl.training import train as run

    try:
        arguments = _arguments(settings or [])
        import torch

        torch.manual_seed(seed)
        tokenizer = trained.build(target, arguments)
        samples = training_data(data, tokenizer, piece)
        history = run(
            tokenizer,
            samples,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
            precision=precision,
            checkpoint=out.with_name(out.name + ".training"),
        )
        trained.save(out, tokenizer.cpu(), system, target, arguments)
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        stop(str(error))
    say(f"{out}: {system} after {counted(steps, 'step')}, loss {history.total[-1]:.4g}")


def tokenize(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(help="Files, or folders with files.")],
    system: System,
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="The folder for the shards of codes.")],
    device: Device = "cpu",
    ray: Annotated[
        str | None, typer.Option(help="Run on the Ray cluster at this address; local starts one here.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Workers on the cluster.")] = 2,
) -> None:
    """Turn files into codes. Interrupted, the same call goes on; exit code 1 when some input could not be read."""
    _target(context, system)
    from impl.corpus import bulk, samples, trained

    try:
        tokenizer = trained.load(checkpoint, system)
        job = bulk.start(out, checkpoint, samples.find(inputs, tokenizer.modality))
        if ray is None:
            bulk.tokenize(out, job, tokenizer, device)
        else:
            from impl.corpus import cluster

            cluster.tokenize(out, job, checkpoint, ray, workers, device)
        failed = bulk.failures(out)
    except (ValueError, OSError, ImportError) as error:
        stop(str(error))
    say(f"{counted(len(job.inputs) - len(failed), 'file')} tokenized to {out}")
    for source, reason in failed:
        say(f"skipped {source}: {reason}")
    if failed:
        raise typer.Exit(1)


def detokenize(
    context: typer.Context,
    codes: Annotated[Path, typer.Argument(help="A folder of shards.")],
    system: System,
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="The folder for the files.")],
    device: Device = "cpu",
) -> None:
    """Turn codes back into files: wav for sound, png for images."""
    _target(context, system)
    from impl.corpus import bulk

    try:
        written = bulk.detokenize(codes, out, bulk.load_for(codes, checkpoint, system), device)
    except (ValueError, OSError) as error:
        stop(str(error))
    say(f"{counted(written, 'file')} in {out}")
    if not written:
        raise typer.Exit(1)


def _target(context: typer.Context, system: str) -> str:
    """Return the link of a work that is a tokenizer, or stop with a sentence."""
    work = named(catalog_of(context), system)
    if work.implementation is None or not work.implementation.startswith("impl.tokenizers."):
        stop(
            f"{work.id} is no tokenizer that is implemented here; 'codebook query kind:tokenizer status:implemented'"
        )
    return work.implementation


def _arguments(settings: list[str]) -> dict[str, object]:
    """Read NAME=VALUE pairs, values as YAML: 16, 0.5, [2, 4, 5], zeros.

    Raises:
        ValueError: a pair without "=", or a value that is no YAML.
    """
    import yaml

    arguments = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise ValueError(f"--set wants NAME=VALUE, got {setting!r}")
        try:
            arguments[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {name}: {value!r} is no value") from error
    return arguments
