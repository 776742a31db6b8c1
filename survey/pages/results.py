"""Measured numbers for the cards: the rows of results/*.csv, repeated seeds put together."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

OWED = ("id", "metric", "value")
CASE = ("id", "data", "bits", "metric", "steps")
"""The columns that tell one measured case from another; what differs within a case is the seed."""


@dataclass(frozen=True)
class Measurement:
    """One work's metric on one data set at one rate, over the seeds that were run."""

    id: str
    data: str
    bits: str
    metric: str
    steps: str
    values: tuple[float, ...]

    @cached_property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.values)


def read_results(root: Path) -> dict[str, list[Measurement]]:
    """Return the measurements in ``root``/results by id of work, in the order in which the files have them.

    Raises ValueError, naming file and line, for a missing column or a value that is no number.
    """
    runs: dict[tuple[str, ...], list[float]] = {}
    for path in sorted((root / "results").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            for name in OWED:
                if name not in (reader.fieldnames or ()):
                    raise ValueError(
                        f"{path.name}: line 1 must name the columns {', '.join(OWED)}, {name} is missing"
                    )
            for row in reader:
                try:
                    value = float(row["value"])
                except (TypeError, ValueError):
                    where = f"{path.name}: line {reader.line_num}"
                    raise ValueError(f"{where}: value must be a number, given {row['value']!r}") from None
                runs.setdefault(tuple(row.get(name) or "" for name in CASE), []).append(value)
    found: dict[str, list[Measurement]] = {}
    for case, values in runs.items():
        found.setdefault(case[0], []).append(Measurement(*case, tuple(values)))
    return found
