"""What notebooks print: reproducible settings, figures with a text twin, tables, claims, live source.

A notebook's outputs are compared as text on other machines. So nothing here prints a raw float of a trained
model: figures print a coarse digest of what they plot, claims print their band and not the value.
"""

import base64
import html
import inspect
import io
import os
import random
import textwrap
import wave
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from impl.figure_digest import digest

DPI = 80
FULL_COLOUR = 40_000  # bytes
STYLE = {
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.prop_cycle": plt.cycler(
        color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
    ),  # Okabe and Ito's colours: told apart with any colour vision
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "figure.figsize": (7.0, 3.6),
    "grid.alpha": 0.3,
    "image.cmap": "gray",
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def setup(seed: int = 0) -> None:
    """Make a notebook reproducible: seeds, one thread, deterministic algorithms, the book's figure style.

    One thread, because sums split over threads change a trained codebook, and because small tensors are
    faster so. ``seed`` seeds Python, NumPy and PyTorch.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    plt.rcParams.update(STYLE)


def device() -> torch.device:
    """Return the device of the book's runs: the environment variable ``CODEBOOK_DEVICE``, else the CPU.

    Raises:
        ValueError: if the variable names no device, or one that this machine lacks.
    """
    from impl.devices import devices  # slow to import, and few chapters ask

    name = os.environ.get("CODEBOOK_DEVICE", "cpu")
    if name not in devices():
        raise ValueError(
            f"CODEBOOK_DEVICE must be one of {', '.join(devices())} on this machine, got {name!r}"
        )
    return torch.device(name)


class _Bundle:
    """Something shown in a notebook in several forms at once, as {MIME type: content}."""

    def __init__(self, **forms: str | bytes) -> None:
        self.forms = {name.replace("_", "/"): content for name, content in forms.items()}

    def __repr__(self) -> str:
        return str(self.forms["text/plain"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str | bytes]:
        return self.forms


def figure(fig: Figure, alt: str, digits: int = 2) -> None:
    """Show a figure as a picture and as text: the alternative text, then a digest of what is plotted.

    ``alt`` says in a sentence what the figure shows; ``digits`` is the number of significant digits of the
    digest (1 or 0 where the plotted numbers come from a long training and differ between processors).

    Raises:
        ValueError: if ``alt`` is empty.
    """
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("alt is empty; say in one sentence what the figure shows")
    for axes in fig.axes:
        if axes.get_images():
            axes.grid(False)  # no lines across a picture
    picture = _png(fig)
    plt.close(fig)
    display(_Bundle(image_png=picture, text_plain="\n".join([alt, *digest(fig, digits)])))


def _png(fig: Figure) -> bytes:
    """Draw a figure; one of many colours (photographs) gets a palette of 256, for a third of the bytes."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    if buffer.tell() > FULL_COLOUR:
        image = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        image.save(buffer := io.BytesIO(), format="png", optimize=True)
    return buffer.getvalue()


def sound(waveform: torch.Tensor, sample_rate: int, name: str) -> None:
    """Show a waveform as a player with its name before it; readers without one see name and length.

    The samples are no text and are compared with nothing: assert in the cell what they must keep.

    Args:
        waveform: (samples,) or (1, samples) in [-1, 1].
        sample_rate: in Hz.
        name: what is heard.
    """
    samples = waveform.detach().cpu().reshape(-1).clamp(-1, 1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, sample_rate, 0, "NONE", "not compressed"))
        file.writeframes((samples * 32767).round().short().numpy().astype("<i2").tobytes())
    source = "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    shown = f"{html.escape(name)}<br><audio controls preload='none' src='{source}'></audio>"
    length = f"{name} ({len(samples) / sample_rate:.2f} s of sound)"
    display(_Bundle(text_html=f"<div>{shown}</div>", text_plain=length))


def table(rows: Iterable[Mapping[str, object] | Sequence], columns: Sequence[str], digits: int = 3) -> None:
    """Print rows as aligned plain text; floats with ``digits`` significant digits, numbers to the right.

    A row is a mapping from column name to value, or a sequence of values in the order of ``columns``.

    Raises:
        ValueError: if a row lacks a column or has too many values.
    """
    lines, right = [], [True] * len(columns)
    for number, row in enumerate(rows):
        values = [row.get(name, _MISSING) for name in columns] if isinstance(row, Mapping) else list(row)
        if len(values) != len(columns) or any(value is _MISSING for value in values):
            raise ValueError(f"row {number} is {row!r}; it needs one value for each of {list(columns)}")
        values = [value.item() if hasattr(value, "item") else value for value in values]
        right = [flag and isinstance(value, int | float) for flag, value in zip(right, values, strict=True)]
        lines.append([f"{value:.{digits}g}" if isinstance(value, float) else str(value) for value in values])
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    for cells in (columns, ["-" * width for width in widths], *lines):
        aligned = zip(cells, widths, right, strict=True)
        print("  ".join(f"{cell:>{w}}" if flag else f"{cell:<{w}}" for cell, w, flag in aligned).rstrip())


_MISSING = object()


def band(name: str, value: float, low: float, high: float) -> None:
    """Claim that ``low <= value <= high``: print the band, or raise with the value.

    Raises:
        AssertionError: if the value (a number or a tensor of one element) lies outside or is not a number.
    """
    value = _number(value)
    if not low <= value <= high:
        raise AssertionError(f"{name} is {value:.6g}, outside [{low:g}, {high:g}]")
    print(f"{name} in [{low:g}, {high:g}]: ok")


def less(name_a: str, a: float, name_b: str, b: float, margin: float = 0.0) -> None:
    """Claim that ``b`` exceeds ``a`` by more than ``margin``: print the claim, or raise with both values.

    Raises:
        AssertionError: if the claim fails or a value is not a number.
    """
    a, b = _number(a), _number(b)
    claim = f"{name_a} < {name_b}" + (f" by more than {margin:g}" if margin else "")
    if not b - a > margin:
        raise AssertionError(f"{claim}: {a:.6g} against {b:.6g}")
    print(f"{claim}: ok")


def _number(value: float | torch.Tensor) -> float:
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)


def source(obj: object) -> None:
    """Show the source of a class, function or method as it is in the module now, never a pasted copy.

    Raises:
        TypeError: if ``obj`` has no Python source.
    """
    code = listing(obj)
    fence = "```"
    while fence in code:
        fence += "`"
    module = Path(*inspect.getmodule(obj).__name__.split(".")).with_suffix(".py").as_posix()
    markdown = f"`{obj.__qualname__}` in `{module}`:\n\n{fence}python\n{code}\n{fence}"
    display(_Bundle(text_markdown=markdown, text_plain=code))


def listing(obj: object) -> str:
    """Return what ``source`` shows: the source of a class, function or method, not indented.

    Raises:
        TypeError: if ``obj`` has no Python source.
    """
    return textwrap.dedent(inspect.getsource(obj)).rstrip()
