"""Works in the order of any field."""

from __future__ import annotations

import re
from collections.abc import Iterable

from survey.catalog import FIELDS, Work
from survey.problems import one_of


def sorted_works(works: Iterable[Work], sort: str) -> list[Work]:
    """Return works by a field, a leading "-" meaning falling; ties in (year, id) order, absent values last.

    Raises ValueError, naming the nearest field, when no work has such a field.
    """
    name, falling = sort.removeprefix("-"), sort.startswith("-")
    if name not in FIELDS:
        raise ValueError(f"sort must be {one_of(name, FIELDS)}, given {name!r}")
    ordered = sorted(works, key=lambda work: (work.year, work.id))
    present = [work for work in ordered if getattr(work, name)]
    absent = [work for work in ordered if not getattr(work, name)]
    return sorted(present, key=lambda work: _sort_key(getattr(work, name)), reverse=falling) + absent


def _sort_key(value: object) -> object:
    if isinstance(value, int):
        return value
    if isinstance(value, dict):
        return [f"{key} {text}".casefold() for key, text in value.items()]
    # every run of digits counts as a number, so that section 5.10 comes after 5.9
    return [
        [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text.casefold())]
        for text in ([value] if isinstance(value, str) else value)
    ]
