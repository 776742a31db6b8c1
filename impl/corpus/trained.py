"""A trained tokenizer as one file: its catalog id, the numbers that build it, its weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impl import checkpoints
from impl.links import resolve
from impl.tokenizers.base import Tokenizer


def tokenizer_class(target: str) -> type[Tokenizer]:
    """Import a tokenizer of files by its link, `module:Class`, as the catalog gives it.

    Raises:
        ValueError: it is no tokenizer, or one that reads no files.
    """
    cls = resolve(target)
    if not (isinstance(cls, type) and issubclass(cls, Tokenizer) and cls.modality):
        raise ValueError(f"system must be a tokenizer of files, {target} is none")
    return cls


def build(target: str, arguments: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer from its link and numbers; those not given are those of `SMALL`.

    Raises:
        ValueError: an argument that the tokenizer does not take, or of an illegal value.
    """
    cls = tokenizer_class(target)
    try:
        return cls(**{**cls.SMALL, **arguments})
    except TypeError as error:
        raise ValueError(f"arguments do not fit {cls.__name__}: {error}") from error


def save(path: str | os.PathLike, tokenizer: Tokenizer, system: str, target: str, arguments: Mapping) -> None:
    """Write a tokenizer that `build` made, whole or not at all."""
    config = {"kind": "tokenizer", "system": system, "target": target, "arguments": dict(arguments)}
    checkpoints.save(path, tokenizer, config)


def load(path: str | os.PathLike, system: str | None = None) -> Tokenizer:
    """Read what `save` wrote, in evaluation mode, on the CPU.

    Args:
        path: the file.
        system: the catalog id that it must be of, or None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no tokenizer, or one of another system.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {str(path)!r}: 'codebook train' writes one")
    state, config = checkpoints.load(path)
    if config.get("kind") != "tokenizer":
        raise ValueError(f"{path} is no trained tokenizer: 'codebook train --out' writes one")
    if system is not None and config["system"] != system:
        raise ValueError(f"{path} holds the system {config['system']!r}, not {system!r}")
    tokenizer = build(config["target"], config["arguments"])
    tokenizer.load_state_dict(state)
    return tokenizer.eval()
