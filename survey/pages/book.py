"""What a page needs beyond its own work: who builds on whom, measured numbers, chapters, addresses."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import yaml

from survey.catalog import Catalog, Section, Work
from survey.pages.markdown import link
from survey.pages.results import Measurement, read_results


class Book:
    """The catalog with its surroundings, and the folder that its pages are written to."""

    def __init__(self, catalog: Catalog, out: Path):
        self.catalog, self.out = catalog, out
        self.repository = catalog.root.parent

    @cached_property
    def builders(self) -> dict[str, list[Work]]:
        """The works that build on each work, in the catalog's order."""
        found: dict[str, list[Work]] = {}
        for work in self.catalog:
            for name in work.builds_on:
                found.setdefault(name, []).append(work)
        return found

    @cached_property
    def results(self) -> dict[str, list[Measurement]]:
        """Measured numbers by id of work."""
        return read_results(self.catalog.root)

    @cached_property
    def sections(self) -> dict[str, Section]:
        """The sections by number."""
        return {section.number: section for section in self.catalog.sections}

    @cached_property
    def members(self) -> dict[str, list[Work]]:
        """The works that each section lists itself, without those of the sections below it."""
        found: dict[str, list[Work]] = {section.number: [] for section in self.catalog.sections}
        for work in self.catalog:
            for number in work.sections:
                found[number].append(work)
        return found

    def children(self, number: str | None) -> list[Section]:
        """Return the sections right below ``number`` (None: the roots), in reading order."""
        return [section for section in self.catalog.sections if section.parent == number]

    def within(self, section: Section) -> list[Work]:
        """Return the distinct works of ``section`` and of everything below it."""
        numbers, waiting = set(), [section]
        while waiting:
            numbers.add((at := waiting.pop()).number)
            waiting += self.children(at.number)
        return [work for work in self.catalog if numbers.intersection(work.sections)]

    def relative(self, path: Path, page: Path) -> str:
        """Return the address of a file of the repository as ``page`` has to write it."""
        return Path(os.path.relpath(path, page.parent)).as_posix()

    def chapter_link(self, chapter: str, page: Path) -> str | None:
        """Return a link to a chapter under its own title, or None while it has not been built."""
        path = self.repository / "book" / "chapters" / f"{chapter}.ipynb"
        return link("", self.relative(path, page)) if path.exists() else None

    @cached_property
    def _online(self) -> str | None:
        """The address in front of a file's path in the public repository, by the book's own settings."""
        settings = self.repository / "_config.yml"
        loaded = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.exists() else None
        repository = (loaded or {}).get("repository") or {}
        if not repository.get("url"):
            return None
        return f"{repository['url'].rstrip('/')}/blob/{repository.get('branch', 'main')}/"

    def online(self, path: Path, line: int | None = None) -> str | None:
        """Return the address of a file in the public repository, None when the book names no repository."""
        if self._online is None:
            return None
        return self._online + quote(path.as_posix()) + (f"#L{line}" if line else "")
