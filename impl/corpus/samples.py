"""Files of one modality as the samples that a tokenizer takes, and samples as files again."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from impl.data.recordings import read_sound, write_sound
from impl.tokenizers.base import Tokenizer

SUFFIXES = {
    "sound": (".wav", ".flac", ".ogg", ".mp3"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp"),
}
#: What decoded samples are written as.
WRITTEN = {"sound": ".wav", "image": ".png"}


def find(inputs: Iterable[str | os.PathLike], modality: str) -> list[str]:
    """Return the files that inputs name, in sorted order: files as they are, folders with all in them of the modality.

    Raises:
        FileNotFoundError: an input that is neither file nor folder, or a folder that holds none.
        ValueError: two inputs name one file.
    """
    found: list[str] = []
    for given in map(Path, inputs):
        if given.is_dir():
            inside = [str(path) for path in given.rglob("*") if path.suffix.lower() in SUFFIXES[modality]]
            if not inside:
                raise FileNotFoundError(f"{given} holds no {modality} file ({', '.join(SUFFIXES[modality])})")
            found += inside
        elif given.is_file():
            found.append(str(given))
        else:
            raise FileNotFoundError(f"there is no file or folder {str(given)!r}")
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise ValueError(f"inputs must name each file once, {twice} comes twice")
    return sorted(found)


def read(path: str | os.PathLike, tokenizer: Tokenizer) -> Tensor:
    """Read a file as a sample: (C, N) sound at the tokenizer's rate, or (C, H, W) image in [-1, 1].

    Sound of more channels than the tokenizer's one is averaged; an image becomes grey or RGB as the tokenizer wants it
    and is cut to a multiple of the tokenizer's hop on each side.

    Raises:
        ValueError: the file is damaged, of another kind, or too small.
    """
    if tokenizer.modality == "sound":
        waveform, _ = read_sound(path, tokenizer.sample_rate)
        return waveform.mean(dim=0, keepdim=True) if tokenizer.channels == 1 else waveform
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if tokenizer.channels == 1 else "RGB"), np.float32)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no whole image: {error}") from error
    sample = torch.from_numpy(pixels / 127.5 - 1).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    height, width = (side - side % tokenizer.hop for side in sample.shape[1:])
    if not height or not width:
        raise ValueError(f"{path} is smaller than the {tokenizer.hop} x {tokenizer.hop} pixels of one code")
    return sample[:, :height, :width]


def write(path: str | os.PathLike, sample: Tensor, tokenizer: Tokenizer) -> None:
    """Write a decoded sample, whole or not at all: (C, N) as wav, (C, H, W) as png."""
    if tokenizer.modality == "sound":
        write_sound(path, sample, tokenizer.sample_rate)
        return
    pixels = (
        ((sample.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    )
    temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(temporary, format="PNG")
    os.replace(temporary, path)
