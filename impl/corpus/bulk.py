"""Tokenizing many files, and back: in shards, so that a run that was killed goes on where it stopped.

Inputs are sorted and cut into runs of `SHARD` files; a run becomes a shard, or is done again. So nothing is lost or
doubled whatever happens, shards can be made anywhere in any order (`impl.corpus.cluster`), and memory is one shard's.
An input that cannot be read has a row too, with the reason.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from impl.corpus import samples, trained
from impl.corpus.shards import Row, read_shard, shards, write_shard
from impl.tokenizers.base import Tokenizer

#: Inputs a shard.
SHARD = 64


class Job(NamedTuple):
    """What a folder of shards was made of; written into it as `job.json` before the first shard."""

    checkpoint: str
    digest: str
    shard: int
    inputs: list[str]

    def runs(self) -> list[list[str]]:
        """Return the inputs of each shard."""
        return [self.inputs[first : first + self.shard] for first in range(0, len(self.inputs), self.shard)]


class Failed(NamedTuple):
    """An input that has no codes, and why."""

    source: str
    error: str


def start(folder: Path, checkpoint: Path, inputs: list[str], shard: int = SHARD) -> Job:
    """Open a folder for shards, or go on with the one that was opened with the same inputs and weights.

    Raises:
        ValueError: the folder belongs to another job, or `job.json` is damaged.
    """
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    job = Job(str(checkpoint), digest, shard, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "job.json"
    if record.exists():
        try:
            before = Job(**json.loads(record.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{record} is damaged: name another folder, or remove this one") from error
        for name, what in (("digest", "weights"), ("shard", "size of shards"), ("inputs", "inputs")):
            if getattr(before, name) != getattr(job, name):
                raise ValueError(
                    f"{folder} holds codes of other {what}: name another folder, or remove this one"
                )
        return before
    temporary = folder / f".job.json.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(job._asdict(), indent=1), "utf-8")
    os.replace(temporary, record)
    return job


def missing(folder: Path, job: Job) -> list[int]:
    """Return the numbers of the shards that are not there yet."""
    return [
        index
        for index in range(len(job.runs()))
        if not shard_path(folder, index).with_suffix(".parquet").exists()
    ]


def shard_path(folder: Path, index: int) -> Path:
    """Return where shard `index` lies, without its suffix."""
    return folder / f"shard-{index:05d}"


def tokenize(
    folder: Path, job: Job, tokenizer: Tokenizer, device: str = "cpu", progress: bool = True
) -> None:
    """Make the shards that are missing, with a progress bar on a terminal."""
    tokenizer = tokenizer.to(device).eval()
    waiting = missing(folder, job)
    done = len(job.inputs) - sum(len(job.runs()[index]) for index in waiting)
    with tqdm(total=len(job.inputs), initial=done, unit="file", disable=None if progress else True) as bar:
        for index in waiting:
            make_shard(folder, job, index, tokenizer, bar)


def make_shard(folder: Path, job: Job, index: int, tokenizer: Tokenizer, bar: tqdm | None = None) -> None:
    """Tokenize the inputs of one shard and write it."""
    rows = []
    for source in job.runs()[index]:
        rows.append(_row(source, tokenizer))
        if bar is not None:
            bar.update()
    write_shard(shard_path(folder, index), rows, tokenizer.codebook_sizes)


@torch.no_grad()
def _row(source: str, tokenizer: Tokenizer) -> Row:
    try:
        sample = samples.read(source, tokenizer)
        device = next(tokenizer.parameters()).device
        codes = tokenizer.encode(sample[None].to(device))[0].cpu().numpy()
    except (ValueError, FileNotFoundError) as error:
        return Row(source, (), None, str(error))
    return Row(source, tuple(sample.shape[1:]), codes)


def failures(folder: Path) -> list[Failed]:
    """Return the inputs of all shards that have no codes."""
    return [Failed(row.source, row.error) for path in shards(folder) for row in read_shard(path) if row.error]


def detokenize(
    folder: Path, out: Path, tokenizer: Tokenizer, device: str = "cpu", progress: bool = True
) -> int:
    """Decode all shards of a folder to files in `out`; return how many files there are. Those there already stay.

    A file is named by its number in the job and its input's name: 000012-speech.wav.

    Raises:
        ValueError: a shard is damaged, or the folder holds none.
    """
    paths = list(shards(folder))
    if not paths:
        raise ValueError(f"{folder} holds no shards of codes: 'codebook tokenize' writes them")
    tokenizer, written = tokenizer.to(device).eval(), 0
    out.mkdir(parents=True, exist_ok=True)
    with tqdm(unit="file", disable=None if progress else True) as bar:
        for number, row in _numbered(paths):
            if row.codes is None:
                continue
            path = out / f"{number:06d}-{_plain(row.source)}{samples.WRITTEN[tokenizer.modality]}"
            if not path.exists():
                samples.write(path, decode(row, tokenizer), tokenizer)
            written += 1
            bar.update()
    return written


@torch.no_grad()
def decode(row: Row, tokenizer: Tokenizer) -> torch.Tensor:
    """Decode a row's codes to a sample as long as its input was."""
    device = next(tokenizer.parameters()).device
    sample = tokenizer.decode(torch.from_numpy(row.codes)[None].to(device))[0]
    return sample[(slice(None), *(slice(length) for length in row.length))]


def _numbered(paths: Sequence[Path]) -> Iterator[tuple[int, Row]]:
    number = 0
    for path in paths:
        for row in read_shard(path):
            yield number, row
            number += 1


def _plain(source: str) -> str:
    """Return an input's name without folder, suffix and what file systems dislike."""
    return re.sub(r"[^\w.-]+", "_", Path(source).stem)[:80] or "input"


def load_for(folder: Path, checkpoint: Path, system: str | None = None) -> Tokenizer:
    """Load the tokenizer of a folder of shards, if the checkpoint is the one that made it.

    Raises:
        FileNotFoundError: the folder holds no job.
        ValueError: the weights are others.
    """
    record = folder / "job.json"
    if not record.is_file():
        raise FileNotFoundError(f"{folder} holds no job.json: 'codebook tokenize' writes it")
    job = Job(**json.loads(record.read_text("utf-8")))
    if hashlib.sha256(checkpoint.read_bytes()).hexdigest() != job.digest:
        raise ValueError(
            f"{folder} was made with other weights ({job.checkpoint}): codes mean nothing to these"
        )
    return trained.load(checkpoint, system)
