"""Checkpoints: tensors and a configuration in one safetensors file, written whole or not at all.

What is saved is a module, its state dictionary, or any nesting of dictionaries, lists and tuples whose
leaves are tensors, numbers, strings, booleans and None (so an optimizer's state too). The tensors are
ordinary entries of a safetensors file, under their dotted names; the nesting, the configuration, a version
and a checksum over all of it stand in the header. A file that was cut or changed is refused. Nothing is
unpickled, ever.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

FORMAT = "codebook checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or is of another version."""


def save(path: str | os.PathLike, module_or_state: nn.Module | Any, config: Mapping[str, Any]) -> None:
    """Write a checkpoint, replacing `path` in one step: at every moment it holds the old file or the new one.

    Args:
        path: the file; its folder must exist.
        module_or_state: a module, or a state as the module docstring describes it. Tensors that share their
            memory (tied weights) are stored once and tied again by `load`.
        config: what is needed to build the module again: strings, numbers, booleans, None, and lists, tuples
            and dictionaries of these.

    Raises:
        TypeError: a leaf of a kind that cannot be stored, or a tensor in `config`.
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in an existing folder, got {str(path)!r}")
    state = module_or_state.state_dict() if isinstance(module_or_state, nn.Module) else module_or_state
    tensors: dict[str, Tensor] = {}
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "state": _text(_pack(state, tensors, {}, ())),
        "config": _text(_pack(dict(config), None, {}, ("config",))),
    }
    header["sha256"] = _checksum(tensors, header)
    _write_whole(path, safetensors.torch.save(tensors, header))


def load(path: str | os.PathLike) -> tuple[Any, dict[str, Any]]:
    """Read a checkpoint: the state as it was saved, on the CPU, and the configuration.

    The state of a module comes back as its state dictionary, for `load_state_dict`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is cut, changed, of another version, or no checkpoint of this project.
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        tensors = safetensors.torch.load(raw)
        entries = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    # KeyError: safetensors' own, for a type that it does not know.
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error
    header = entries.get("__metadata__", {})
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of this project")
    if header.get("version") != str(VERSION):
        raise CheckpointError(
            f"{path} is a checkpoint of version {header.get('version')}, this program reads version {VERSION}"
        )
    if header.pop("sha256", None) != _checksum(tensors, header):
        raise CheckpointError(f"{path} is damaged or was changed: its checksum does not match its content")
    return _unpack(json.loads(header["state"]), tensors), _unpack(json.loads(header["config"]), {})


def _write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, force it to the disk, then give it the name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The new name must outlive a power cut too: it is an entry of the folder.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _text(packed: Any) -> str:
    return json.dumps(packed, separators=(",", ":"))


def _pack(value: Any, tensors: dict[str, Tensor] | None, seen: dict[tuple, str], where: tuple) -> Any:
    """Turn a state into JSON, moving its tensors to `tensors` (None: none are allowed).

    Tensors, tuples and dictionaries that JSON could not hold become objects whose one key starts with "$".
    `seen` maps the memory of each tensor to the name that it was given.
    """
    if isinstance(value, Tensor) and tensors is not None:
        return {"$tensor": _store(value, tensors, seen, where)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        items = [_pack(item, tensors, seen, (*where, i)) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        pairs = [
            (_pack(key, None, seen, (*where, "key")), _pack(item, tensors, seen, (*where, key)))
            for key, item in value.items()
        ]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(pairs)
        return {"$pairs": [list(pair) for pair in pairs]}
    place = ".".join(map(str, where)) or "module_or_state"
    raise TypeError(
        f"{place} must be made of {'' if tensors is None else 'tensors, '}numbers, strings, booleans, None, "
        f"lists, tuples and dictionaries, got {type(value).__name__}"
    )


def _store(tensor: Tensor, tensors: dict[str, Tensor], seen: dict[tuple, str], where: tuple) -> str:
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
        raise TypeError(
            f"{'.'.join(map(str, where))} must be a dense, real tensor, got {tensor.dtype} {tensor.layout}"
        )
    memory = (tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
    if tensor.numel() and memory in seen:
        return seen[memory]
    name = ".".join(map(str, where)) or "tensor"
    while name in tensors:  # {"a.b": x, "a": {"b": y}}
        name += "'"
    seen[memory] = name
    # A copy, so that tensors that overlap in part are no matter to safetensors, which refuses them.
    tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return name


def _unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(packed, list):
        return [_unpack(item, tensors) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if "$tensor" in packed:
        return tensors[packed["$tensor"]]
    if "$tuple" in packed:
        return tuple(_unpack(packed["$tuple"], tensors))
    if "$pairs" in packed:
        return {_unpack(key, tensors): _unpack(item, tensors) for key, item in packed["$pairs"]}
    return {key: _unpack(item, tensors) for key, item in packed.items()}


def _checksum(tensors: dict[str, Tensor], header: dict[str, str]) -> str:
    digest = hashlib.sha256(_text(sorted(header.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_text([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
