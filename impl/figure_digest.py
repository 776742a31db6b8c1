"""A figure said in a few lines of text, coarse enough to be the same on every processor."""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle, StepPatch


def digest(fig: Figure, digits: int = 2) -> list[str]:
    """Describe what a figure plots, one line per series: kind, label, number of points, ranges.

    ``digits`` is the number of significant digits of the ranges; 0 leaves the ranges out.

    Raises:
        ValueError: if ``digits`` is negative.
    """
    if digits < 0:
        raise ValueError(f"digits is {digits}; it must be 0 or more")
    lines, images = [], []
    for axes in fig.axes:
        images += [np.ma.getdata(image.get_array()) for image in axes.get_images()]
        if hasattr(axes, "_colorbar"):  # a colour bar repeats the range of its image
            continue
        series = list(_series(axes))
        if not series:
            continue
        names = (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
        lines.append("axes" + "".join(f" | {' '.join(name.split())}" for name in names if name))
        lines += [_describe(*entry, digits) for entry in series]
    shapes = Counter("x".join(map(str, image.shape)) for image in images)
    lines += [f"{count} image{'s' * (count > 1)} of {shape}" for shape, count in sorted(shapes.items())]
    return lines


def _series(axes: Axes) -> Iterator[tuple[str, str, np.ndarray | None, np.ndarray]]:
    """Yield (kind, label, x, y) of everything plotted in the axes; x is None where it has no meaning."""
    for line in axes.get_lines():
        yield "line", line.get_label(), _numbers(line.get_xdata()), _numbers(line.get_ydata())
    in_containers = set()
    for container in axes.containers:
        if isinstance(container, BarContainer):
            in_containers |= {id(patch) for patch in container}
            yield "bars", container.get_label(), None, _numbers(container.datavalues)
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            yield "steps", patch.get_label(), _numbers(edges), _numbers(values)
        elif isinstance(patch, Polygon):
            x, y = _numbers(patch.get_xy()).T
            yield "area", patch.get_label(), x, y
        elif id(patch) not in in_containers:
            kind = "rectangle" if isinstance(patch, Rectangle) else "shape"
            yield kind, patch.get_label(), None, np.empty(0)
    for collection in axes.collections:
        values = collection.get_array()
        if isinstance(collection, PathCollection):
            x, y = _numbers(collection.get_offsets()).T
            yield "points", collection.get_label(), x, y
        elif values is not None:
            yield "mesh", collection.get_label(), None, _numbers(values).ravel()
        else:
            vertices = [path.vertices for path in collection.get_paths()]
            if vertices:
                x, y = np.concatenate(vertices).T
                yield "area", collection.get_label(), x, y


def _numbers(values: object) -> np.ndarray:
    """Return plotted values as floats; categories become their positions."""
    values = (
        np.ma.filled(np.ma.asarray(values), np.nan) if not isinstance(values, list) else np.asarray(values)
    )
    return values.astype(float) if values.dtype.kind in "fiub" else np.arange(values.size, dtype=float)


def _describe(kind: str, label: str, x: np.ndarray | None, y: np.ndarray, digits: int) -> str:
    name = "" if str(label).startswith("_") or not label else f" '{' '.join(str(label).split())}'"
    text = f"  {kind}{name}"
    if y.size:
        text += f": {y.size} point{'s' * (y.size > 1)}"
    if digits:
        text += "".join(
            f", {axis} {_range(values, digits)}" for axis, values in (("x", x), ("y", y)) if _finite(values)
        )
    return text


def _finite(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.isfinite(values).any())


def _range(values: np.ndarray, digits: int) -> str:
    """Return 'low..high', both rounded to the digits of the larger: noise near zero stays zero."""
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    largest = max(abs(low), abs(high))
    if largest == 0.0:
        return "0..0"
    decimals = digits - 1 - math.floor(math.log10(largest))
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return f"{round(low, decimals) + 0.0:.6g}..{round(high, decimals) + 0.0:.6g}"
