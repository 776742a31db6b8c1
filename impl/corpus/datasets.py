"""What `codebook train` trains on: embedded data by name, or files cut into pieces of one size."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import soundfile
from PIL import Image
from torch import Tensor

from impl.corpus import samples
from impl.data.images import digits, photo_patches
from impl.data.sound import sounds, speech
from impl.tokenizers.base import Tokenizer

#: Embedded training sets by modality and name.
EMBEDDED = {
    "sound": {
        "speech": lambda: speech("train", 1024, 0.25, phones=1).waveforms,
        "sounds": lambda: sounds("train", 1024, 0.25),
    },
    "image": {"digits": digits, "photographs": photo_patches},
}


def training_data(given: list[str], tokenizer: Tokenizer, piece: int) -> "Tensor | Pieces":
    """Return training samples: those of an embedded set named alone, or pieces of files and folders.

    Args:
        given: one name of `EMBEDDED`, or paths.
        tokenizer: decides modality, sample rate and channels.
        piece: samples, or pixels of a side, of one piece; a multiple of the tokenizer's hop.

    Raises:
        FileNotFoundError: a path that is not there.
        ValueError: no file is long enough for a piece, or the piece is no multiple of the hop.
    """
    embedded = EMBEDDED[tokenizer.modality]
    if len(given) == 1 and given[0] in embedded and not Path(given[0]).exists():
        return embedded[given[0]]()
    if piece < 1 or piece % tokenizer.hop:
        raise ValueError(f"piece must be a positive multiple of {tokenizer.hop}, got {piece}.")
    try:
        return Pieces(samples.find(given, tokenizer.modality), tokenizer, piece)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; embedded data are {', '.join(embedded)}") from error


class Pieces:
    """Files cut into pieces that do not overlap, read when they are asked for. What is left at an end is not used.

    Args:
        paths: files of the tokenizer's modality.
        tokenizer: as in `training_data`.
        piece: as in `training_data`.
    """

    def __init__(self, paths: Iterable[str], tokenizer: Tokenizer, piece: int) -> None:
        self.piece = piece
        # The few files last used stay in memory: pieces of one file are asked for in any order.
        self._read = lru_cache(maxsize=64)(lambda path: samples.read(path, tokenizer))
        self.places = [(path, *place) for path in paths for place in self._places(path, tokenizer)]
        if not self.places:
            raise ValueError(f"no file holds a piece of {piece}: name longer files, or a smaller piece")

    def _places(self, path: str, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
        """Where the pieces of a file start, from its header alone."""
        if tokenizer.modality == "sound":
            try:
                about = soundfile.info(path)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise ValueError(f"{path} is no whole sound file: {error}") from error
            length = about.frames * tokenizer.sample_rate // about.samplerate
            return [(start,) for start in range(0, length - self.piece + 1, self.piece)]
        with Image.open(path) as image:
            width, height = image.size
        starts = [range(0, side - self.piece + 1, self.piece) for side in (height, width)]
        return [(row, column) for row in starts[0] for column in starts[1]]

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        """Return piece `index`: (C, piece) or (C, piece, piece)."""
        path, *starts = self.places[index]
        return self._read(path)[(slice(None), *(slice(start, start + self.piece) for start in starts))]
