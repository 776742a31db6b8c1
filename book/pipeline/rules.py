"""What every built chapter must keep. No kernel starts here; the whole check takes seconds."""

import ast
import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from pipeline.execution import SOUND
from pipeline.listings import outdated
from pipeline.source import Chapter, assemble, chapters, inputs_of

MAX_PICTURE = 60_000  # bytes
MAX_NOTEBOOK = 400_000  # bytes
MAX_CODE_CELLS = 30
MAX_DIGITS = 4  # significant digits of a printed number that has a decimal point
UNCHECKED = {"nbval-ignore-output", "nbval-skip"}  # each needs a comment with the reason
TAGS = UNCHECKED | {"raises-exception", "gpu"}
TAGS |= {f"{what}-{part}" for what in ("hide", "remove") for part in ("input", "output", "cell")}
IMPORTS = {"torch", "matplotlib", "numpy", "impl", "survey"} | set(sys.stdlib_module_names)
IMPORTS -= {"urllib", "http", "socket", "ftplib", "smtplib", "subprocess", "asyncio"}

ABSOLUTE_PATH = re.compile(r"(?<![\w./:*<)])/(?:[A-Za-z][\w.-]*/)+[\w.-]+|\b[A-Z]:\\\w")
DECIMAL = re.compile(r"(?<![\w.])-?(\d+\.\d+|\.\d+)(?![\w.]*\.\d)")


def check(book: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Return every broken rule, one line each, for the named chapters or for all and for orphans."""
    problems = []
    for chapter in chapters(book, names):
        problems += [f"book/chapters/{chapter.name}.ipynb: {problem}" for problem in check_chapter(chapter)]
    if not names:
        known = {chapter.notebook.name for chapter in chapters(book)}
        orphans = sorted({path.name for path in (book / "chapters").glob("*.ipynb")} - known)
        problems += [f"book/chapters/{name}: has no source in book/src; delete it" for name in orphans]
    return problems


def check_chapter(chapter: Chapter) -> Iterator[str]:
    """Yield the rules that one chapter breaks."""
    notebook = chapter.read()
    if notebook is None:
        problem = "is not a notebook" if chapter.notebook.exists() else "does not exist"
        yield f"{problem}; run `python book/make.py run {chapter.name}`"
        return
    if inputs_of(notebook) != inputs_of(assemble(chapter)):
        yield f"is older than its source; run `python book/make.py run {chapter.name}`"
    for name in outdated(notebook):
        yield f"shows {name} as it was; run `python book/make.py run {chapter.name}`"
    size = chapter.notebook.stat().st_size
    if size > MAX_NOTEBOOK:
        yield f"has {size} bytes, more than {MAX_NOTEBOOK}"
    yield from _check_whole(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from (f"cell {cell.id}: {problem}" for problem in _check_tags(cell))
            yield from (f"cell {cell.id}: {problem}" for problem in _check_outputs(cell))
    for cell in _authored(notebook):
        yield from (f"cell {cell.id}: {problem}" for problem in _check_code(cell.source))


def _authored(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells that the author wrote: all but the first, which is the setup cell."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"][1:]


def _check_whole(notebook: NotebookNode) -> Iterator[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        yield f"has execution counts {counts}, not 1 to {len(code)}: nbval would pass cells that never ran"
    if not notebook.cells[0].source.startswith("# "):
        yield "does not begin with a title (a first line '# ...')"
    if len(code) - 1 > MAX_CODE_CELLS:
        yield f"has {len(code) - 1} code cells, more than {MAX_CODE_CELLS}"
    unchecked = [cell for cell in code if UNCHECKED & set(cell.metadata.get("tags", []))]
    if len(unchecked) > max(1, len(code) // 10):
        yield f"has {len(unchecked)} cells that nbval does not compare, more than one in ten"
    if not any(_claims(cell.source) for cell in _authored(notebook)):
        yield "claims nothing: no assert, no show.band, no show.less"


def _claims(source: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and getattr(node.func, "attr", None) in ("band", "less"))
        for node in nodes
    )


def _check_code(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        yield f"is not plain Python ({error.msg}); shell and magic lines are not allowed"
        return
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "."]
        elif isinstance(node, ast.Constant) and str(node.value).startswith(("http://", "https://")):
            yield f"names the address {node.value!r}; chapters fetch nothing"
        for module in modules:
            if module.split(".")[0] not in IMPORTS:
                yield f"imports {module}; allowed: torch, matplotlib, numpy, impl, survey, standard library"
    for match in ABSOLUTE_PATH.finditer(source):
        yield f"holds the absolute path {match.group()!r}"


def _check_tags(cell: NotebookNode) -> Iterator[str]:
    tags = set(cell.metadata.get("tags", []))
    for tag in sorted(tags - TAGS):
        yield f"has the tag {tag!r}; allowed are {', '.join(sorted(TAGS))}"
    if tags & UNCHECKED and not cell.source.startswith("#"):
        yield "is not compared by nbval and does not begin with a comment that says why"
    if "nbval-skip" in tags and "gpu" not in tags:
        yield "is skipped by nbval without the tag 'gpu'"


def _check_outputs(cell: NotebookNode) -> Iterator[str]:
    tags = set(cell.metadata.get("tags", []))
    pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    if len(pictures) > 1:
        yield f"shows {len(pictures)} pictures; one a cell, since alternative text belongs to the cell"
    for output in pictures:
        size = len(base64.b64decode(output.data["image/png"]))
        if size > MAX_PICTURE:
            yield f"shows a picture of {size} bytes, more than {MAX_PICTURE}"
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        twin = output.data.get("text/plain", "")
        if not alt or alt != twin.split("\n")[0] or twin.startswith("<Figure"):
            yield "shows a picture without alternative text; use show.figure(fig, alt=...)"
    for output in cell.outputs:
        data = output.get("data", {})
        if output.get("name") == "stderr":
            yield f"wrote to standard error: {output.text.strip()[:80]!r}"
        if output.output_type == "error" and "raises-exception" not in tags:
            yield f"raised {output.ename} without the tag 'raises-exception'"
        # What show.sound shows is compared as text, its samples left out.
        compared = {"image/png", "text/plain", "text/markdown"} | (
            {"text/html"} if _is_player(data) else set()
        )
        for mime in sorted(set(data) - compared):
            yield f"shows {mime}; nbval compares it exactly, so show text or a PNG"
        if UNCHECKED & tags:
            continue
        printed = output.get("text", "") + "\n".join(output.get("traceback", []))
        if "text/markdown" not in data:  # live source may hold any constant
            printed += data.get("text/plain", "")
        for match in DECIMAL.finditer(printed):
            digits = match.group(1).replace(".", "").lstrip("0")
            if len(digits) > MAX_DIGITS:
                yield f"prints {match.group()}, with more than {MAX_DIGITS} significant digits"
        for match in ABSOLUTE_PATH.finditer(printed):
            yield f"prints the absolute path {match.group()!r}"


def _is_player(data: dict[str, str]) -> bool:
    return "<audio" in data.get("text/html", "") and SOUND.search(data["text/html"]) is not None
