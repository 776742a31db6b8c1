"""Run a notebook under fixed numerics, and refuse one whose text depends on the processor."""

import base64
import io
import os
import platform
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import nbformat
import numpy as np
from matplotlib.image import imread
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from pipeline.source import METADATA

CELL_TIMEOUT = 120  # seconds
TRACEBACK_LINES = 40  # of a failed cell, shown to the author
SOUND = re.compile(r"data:audio/wav;base64,[A-Za-z0-9+/=]+")
SAME_PICTURE = 2.0  # root mean square difference of pixels, of 255, below which the old file is kept


def numerics(second: bool = False) -> dict[str, str]:
    """Return the environment in which chapters run: one thread, kernels that most processors share.

    The second profile takes PyTorch's portable kernels instead of AVX2, as an unlike processor would.
    """
    environment = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MKL_CBWR": "COMPATIBLE",
        "PYTHONHASHSEED": "0",
        "CODEBOOK_DEVICE": os.environ.get("CODEBOOK_DEVICE", "cpu"),
    }
    if platform.machine().lower() in ("x86_64", "amd64"):
        environment["ATEN_CPU_CAPABILITY"] = "default" if second else "avx2"
    return environment


def execute(
    notebook: NotebookNode, folder: Path, second: bool = False, after_cell: Callable[[], None] = lambda: None
) -> NotebookNode:
    """Return an executed copy of a notebook, run in ``folder`` as Jupyter would.

    Raises:
        RuntimeError: if a cell without the tag ``raises-exception`` raises; the end of its traceback.
        ValueError: if a cell writes to standard error.
    """
    executed = deepcopy(notebook)
    # oneDNN has no switch in the environment, so the second profile's kernel begins with this line.
    without_onednn = "--IPKernelApp.exec_lines=import torch; torch.backends.mkldnn.enabled = False"
    client = NotebookClient(
        executed,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR", *([without_onednn] if second else [])],
        record_timing=False,
        # A busy machine cuts printed text into other chunks, which is no difference.
        coalesce_streams=True,
        on_cell_executed=lambda **_: after_cell(),
    )
    try:
        client.execute(env={**os.environ, **numerics(second)})
    except CellExecutionError as error:
        where = re.sub(r"\x1b\[[\d;]*m", "", error.traceback).strip().splitlines()[-TRACEBACK_LINES:]
        raise RuntimeError("\n".join(where)) from error
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"cell {cell.id} writes to standard error: {output.text.strip()[:500]}")
    return executed


def difference(one: NotebookNode, other: NotebookNode) -> str | None:
    """Say in which cell two runs print different text, or return None; ignored cells don't count."""
    for cell, twin in zip(one.cells, other.cells, strict=True):
        if {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", [])):
            continue
        texts, twins = (_texts(c) for c in (cell, twin))
        if texts != twins:
            lines = zip("\n".join(texts).split("\n"), "\n".join(twins).split("\n"), strict=False)
            a, b = next(
                ((a, b) for a, b in lines if a != b), (f"{len(texts)} outputs", f"{len(twins)} outputs")
            )
            return f"cell {cell.id} depends on the processor: {a.strip()!r} against {b.strip()!r}"
    return None


def _texts(cell: NotebookNode) -> list[str]:
    """Return a cell's outputs as nbval compares them: all text, no picture, no sound."""
    texts = []
    for output in cell.get("outputs", []):
        texts.append(output.get("text") or output.get("evalue") or "")
        data = {mime: text for mime, text in output.get("data", {}).items() if not mime.startswith("image/")}
        texts += [SOUND.sub("SOUND", str(text)) for text in data.values()]
    return texts


def normalise(notebook: NotebookNode, old: NotebookNode | None) -> None:
    """Drop what differs between equal runs: time stamps, paths in tracebacks, pixels that hardly changed."""
    pictures = {
        output.data["text/plain"]: output.data["image/png"]
        for cell in (old.cells if old else [])
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    }
    notebook.metadata = nbformat.from_dict(METADATA)  # nbclient puts the kernel's version there
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = data["image/png"].replace("\n", "")
                before = pictures.get(data["text/plain"])
                if before is not None and same_picture(before, data["image/png"]):
                    data["image/png"] = before


def same_picture(one: str, other: str) -> bool:
    """Tell whether two base64 PNG files look the same to a reader."""
    a, b = (imread(io.BytesIO(base64.b64decode(png)), format="png")[..., :3] for png in (one, other))
    return a.shape == b.shape and float(np.sqrt(np.mean((a - b) ** 2))) * 255 < SAME_PICTURE
