"""The committed chapters keep every rule of book/make.py: fresh, run from the top, fit to compare."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted(path.stem for path in (ROOT / "book" / "src").glob("*.md"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_keeps_the_rules(name):
    result = _make("check", name)
    assert result.returncode == 0, result.stderr


def test_every_notebook_has_a_source():
    notebooks = {path.stem for path in (ROOT / "book" / "chapters").glob("*.ipynb")}
    assert notebooks == set(CHAPTERS)


def test_there_are_chapters():
    assert CHAPTERS


def _make(*arguments):
    command = [sys.executable, str(ROOT / "book" / "make.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
