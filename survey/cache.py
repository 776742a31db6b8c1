"""What reading the catalog's files gave last time, kept so that a command answers at once.

One JSON file per catalog in the user's cache folder, under a fingerprint of every source file. It is never
trusted further than that: a cache that is damaged, foreign or unwritable only costs the time to read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from survey.files import write_atomically

SCHEMA = 1
"""Raised when the stored form changes."""


def folder() -> Path:
    """Return the user's cache folder for Codebook (it need not exist)."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "codebook"
    if sys.platform == "win32" and (base := os.environ.get("LOCALAPPDATA")):
        return Path(base) / "codebook" / "Cache"
    parts = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
    return Path(os.path.expanduser("~"), *parts, "codebook")


def sources(root: Path) -> Iterator[Path]:
    """Yield the folders whose files decide what the catalog in ``root`` is: data, chapters, readers."""
    yield root
    yield root / "systems"
    yield root.parent / "book" / "src"
    if Path(__file__).parent != root:
        yield Path(__file__).parent


_SUFFIXES = (".yml", ".bib", ".md", ".py")


def fingerprint(root: Path) -> str:
    """Return a digest of the names, sizes and modification times of all source files of a catalog."""
    rows = [f"{SCHEMA} {sys.version_info[:2]}"]
    for place in sources(root):
        try:
            with os.scandir(place) as entries:
                found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(_SUFFIXES)]
        except FileNotFoundError:
            found = []
        found.sort(key=lambda item: item[0])
        rows += [str(place), *(f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in found)]
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def location(root: Path) -> Path:
    """Return the cache file of the catalog in ``root``."""
    name = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder() / f"catalog-{name}.json"


def read(root: Path, key: str) -> dict | None:
    """Return what was stored under ``key``, or None where nothing sound is."""
    try:
        header, payload = location(root).read_bytes().split(b"\n", 1)
        if header.decode("ascii") != f"{key} {hashlib.sha256(payload).hexdigest()}":
            return None
        return json.loads(payload)
    except (OSError, ValueError):
        return None


def write(root: Path, key: str, state: dict) -> None:
    """Store ``state`` under ``key`` in one step; a folder that cannot be written is let be."""
    payload = json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    header = f"{key} {hashlib.sha256(payload).hexdigest()}\n".encode("ascii")
    try:
        write_atomically(location(root), header + payload)
    except OSError:
        return
