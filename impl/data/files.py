"""Released files on disk: where the data folder is, and readers of their formats.

Nothing here fetches anything. The folder that holds the data sets is an argument, or the environment variable
`CODEBOOK_DATA`.
"""

import gzip
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def data_root(root: str | os.PathLike | None = None) -> Path:
    """Return the folder that holds the data sets: `root`, or else what `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: neither is given, or the folder does not exist.
    """
    given = root if root is not None else os.environ.get("CODEBOOK_DATA")
    if not given:
        raise FileNotFoundError(
            "no data folder is known: pass root=, or set the environment variable CODEBOOK_DATA to the folder"
            " that holds the data sets"
        )
    folder = Path(given)
    if not folder.is_dir():
        source = "root" if root is not None else "CODEBOOK_DATA"
        raise FileNotFoundError(f"{source} must name an existing folder, got {str(folder)!r}")
    return folder


def locate(names: Iterable[str], folders: Iterable[str], root: str | os.PathLike | None = None) -> Path:
    """Find the first of the files `names` in one of the sub-folders `folders` of the data folder.

    A folder given as `root` may also be the data set's own folder. One named by `CODEBOOK_DATA` may not:
    several data sets use the same file names, and the wrong one would be read without a word.

    Raises:
        FileNotFoundError: none of the files is there; the sentence says what was looked for and where.
    """
    names, folders = list(names), list(folders)
    base = data_root(root)
    places = [base / folder for folder in folders] + ([base] if root is not None else [])
    for name in names:
        for place in places:
            if (place / name).is_file():
                return place / name
    raise FileNotFoundError(
        f"none of the files {', '.join(names)} is in {', '.join(str(place) for place in places)}: "
        "put the released file there, or pass root= (or set CODEBOOK_DATA) to the folder that holds it"
    )


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Read an idx file (the format of MNIST and its relatives), gzip-compressed when its name ends in `.gz`.

    Returns:
        The array as stored, in the machine's byte order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged: not gzip, not idx, or shorter or longer than its header says.
    """
    path = Path(path)
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file ({error}): copy it again") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise ValueError(f"{path} is not an idx file: it starts with {raw[:4].hex(' ') or 'nothing'}")
    kind, dimensions = np.dtype(_IDX_TYPES[raw[2]]), raw[3]
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise ValueError(f"{path} is a damaged idx file: its header of {start} bytes is cut at {len(raw)}")
    shape = struct.unpack(f">{dimensions}I", raw[4:start])
    # Python's integers: the sizes in a damaged header may overflow 64 bits when multiplied.
    wanted = kind.itemsize
    for size in shape:
        wanted *= size
    if len(raw) - start != wanted:
        raise ValueError(
            f"{path} is a damaged idx file: its header promises {wanted} bytes of data for shape {shape}, "
            f"it holds {len(raw) - start}"
        )
    return np.frombuffer(raw, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))
