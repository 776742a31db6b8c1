"""From a chapter's MyST source to an unexecuted notebook, and notebooks to and from disk."""

import json
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from survey.files import write_atomically

BOOK = Path(__file__).resolve().parents[1]
CONFIG = BOOK.parent / "_config.yml"

# The notebook's own metadata is fixed, so that neither the author's editor nor the kernel can change it.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
}

SETUP = """\
# Reproducible settings. Where the repository is not installed (on Colab), it is fetched first, and what it
# needs beyond PyTorch and scikit-learn.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("impl") is None:
    subprocess.run(["git", "clone", "--quiet", "--depth=1", "{url}", "codebook"], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    missing = ["torchmetrics", "lightning-utilities", "bibtexparser", "pylatexenc"]
    subprocess.run([*install, "--constraint", "codebook/requirements.txt", *missing], check=True)
    sys.path.insert(0, "codebook")

from impl import show

show.setup(seed=0)"""
SETUP_METADATA = {
    "mystnb": {"code_prompt_show": "Setup", "code_prompt_hide": "Setup"},
    "tags": ["hide-input"],
}


@dataclass(frozen=True)
class Chapter:
    """A chapter by its name: the source that people edit and the notebook that is built from it."""

    name: str
    source: Path
    notebook: Path

    def read(self) -> NotebookNode | None:
        """Return the built notebook, or None where there is none that can be read."""
        try:
            text = self.notebook.read_text("utf-8")
            nbformat.validate(json.loads(text), version=4)
        except (FileNotFoundError, ValueError, AttributeError, nbformat.ValidationError):
            return None
        return nbformat.reads(text, as_version=4)


def chapters(book: Path = BOOK, names: tuple[str, ...] = ()) -> list[Chapter]:
    """Return the named chapters, or all that have a source, sorted by name.

    Raises:
        FileNotFoundError: if a named chapter has no source.
    """
    found = {
        path.stem: Chapter(path.stem, path, book / "chapters" / f"{path.stem}.ipynb")
        for path in sorted((book / "src").glob("*.md"))
    }
    wanted = [Path(name).stem for name in names] or list(found)
    for name in wanted:
        if name not in found:
            raise FileNotFoundError(f"no chapter {name!r}: book/src holds {', '.join(found) or 'none'}")
    return [found[name] for name in wanted]


def assemble(chapter: Chapter) -> NotebookNode:
    """Build the unexecuted notebook: the source's cells, the setup cell before its first code, fixed ids."""
    cells = jupytext.reads(chapter.source.read_text("utf-8"), fmt="md:myst").cells
    first_code = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    url = yaml.safe_load(CONFIG.read_text("utf-8"))["repository"]["url"]
    setup = nbformat.v4.new_code_cell(SETUP.format(url=url), metadata=SETUP_METADATA)
    cells.insert(first_code, setup)
    for number, cell in enumerate(cells):
        cell.id = f"{chapter.name[:60]}-{number:02d}"
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def code_of(notebook: NotebookNode) -> list[tuple[str, list[str]]]:
    """Return what decides a notebook's outputs: source and tags of each code cell."""
    return [(c.source, c.metadata.get("tags", [])) for c in notebook.cells if c.cell_type == "code"]


def inputs_of(notebook: NotebookNode) -> list[dict]:
    """Return everything in a notebook that comes from its source, in comparable form."""
    cells = []
    for cell in notebook.cells:
        metadata = {key: value for key, value in cell.metadata.items() if key != "mystnb"}
        mystnb = dict(cell.metadata.get("mystnb", {}))
        mystnb["image"] = {k: v for k, v in mystnb.get("image", {}).items() if k != "alt"}
        cells.append(
            {
                "id": cell.id,
                "type": cell.cell_type,
                "source": cell.source,
                "metadata": metadata,
                "mystnb": mystnb,
            }
        )
    return [*cells, dict(notebook.metadata)]


def carry_outputs(new: NotebookNode, old: NotebookNode | None) -> bool:
    """Copy outputs and counts from the old notebook when the code is the same; tell whether it was."""
    if old is None or code_of(new) != code_of(old):
        return False
    old_code = (cell for cell in old.cells if cell.cell_type == "code")
    for cell in new.cells:
        if cell.cell_type == "code":
            twin = next(old_code)
            cell.outputs, cell.execution_count = twin.outputs, twin.execution_count
    add_alternative_text(new)
    return True


def add_alternative_text(notebook: NotebookNode) -> None:
    """Copy the first line of each picture's text twin to where myst-nb looks for the alt attribute."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                mystnb = cell.metadata.setdefault("mystnb", {})
                mystnb.setdefault("image", {})["alt"] = output.data["text/plain"].split("\n")[0]


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically, one form only: indent 1, sorted keys, a final newline."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(path, (text.rstrip("\n") + "\n").encode())
