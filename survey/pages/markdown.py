"""Writing MyST Markdown in which any text stays what it is."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_UNSAFE_IN_ADDRESS = {"<": "%3C", ">": "%3E", "\\": "%5C", "`": "%60", " ": "%20", "\n": "%0A", '"': "%22"}


def escape(text: str) -> str:
    """Return ``text`` on one line so that MyST shows it letter for letter.

    CommonMark lets a backslash stand before any ASCII punctuation, and nothing else can start markup.
    """
    return _PUNCTUATION.sub(r"\\\g<0>", " ".join(text.split()))


def link(text: str, address: str) -> str:
    """Return a link that shows ``text`` letter for letter; no text: the title of the page it leads to."""
    safe = "".join(_UNSAFE_IN_ADDRESS.get(character, character) for character in address)
    if "&" in safe:  # MyST writes it as "&amp;amp;"
        return f'<a class="reference external" href="{html.escape(safe)}">{escape(text)}</a>'
    return f"[{escape(text)}](<{safe}>)"


def code(text: str) -> str:
    """Return ``text`` as code within a line; the fence is longer than any run of backticks in it."""
    text = " ".join(text.split())
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(text: str, language: str = "text") -> str:
    """Return ``text`` as a block of code of its own, never read as markup."""
    return directive("code-block", text, language)


def directive(name: str, body: str, argument: str = "", **options: str) -> str:
    """Return a MyST directive, its fence longer than any in ``body``; an option without a value is a flag."""
    fence = "`" * max(3, _longest_run(body) + 1)
    head = f"{fence}{{{name}}} {argument}".rstrip()
    # quoted, because an option's value is read as YAML
    quoted = {key: json.dumps(value, ensure_ascii=False) if value else "" for key, value in options.items()}
    lines = [f":{key}: {value}".rstrip() for key, value in quoted.items()]
    # without the empty line, a body that begins so would be read as options
    if body and (lines or body.startswith((":", "---"))):
        lines.append("")
    return "\n".join([head, *lines, *([body] if body else []), fence])


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def page(*blocks: str) -> str:
    """Return a page: its blocks with an empty line between them; empty blocks vanish."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
