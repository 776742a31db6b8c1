"""book/make.py on books of one small chapter: what it builds, what it keeps, what it refuses."""

import base64
import io
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from matplotlib.image import imsave
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

make = import_module("make")
execution, listings, rules, source = (
    import_module(f"pipeline.{name}") for name in ("execution", "listings", "rules", "source")
)

FRONT = """\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {name: python3, display_name: Python 3}
---
"""
CHAPTER = (
    FRONT
    + """\
# Squares

A square is $x^2$.

```{code-cell} python
import matplotlib.pyplot as plt
import torch

x = torch.linspace(0, 1, 5)
show.band("mean", x.mean(), 0.4, 0.6)
```

```{code-cell} python
fig, axes = plt.subplots()
axes.plot(x, x**2, label="square")
show.figure(fig, alt="A parabola from the origin.")
```

```{code-cell} python
:tags: [raises-exception]
show.band("mean", x.mean(), 0.6, 0.7)
```
"""
)


@pytest.fixture
def book(tmp_path):
    """A book whose one chapter has not run yet."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "squares.md").write_text(CHAPTER)
    return tmp_path


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The text of the executed notebook of that chapter, executed under both profiles."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "src").mkdir()
    (folder / "src" / "squares.md").write_text(CHAPTER)
    assert make.main(["run"], folder) == 0
    return (folder / "chapters" / "squares.ipynb").read_text()


@pytest.fixture
def built_book(book, built):
    """A book whose one chapter has run."""
    (book / "chapters").mkdir()
    (book / "chapters" / "squares.ipynb").write_text(built)
    return book


def _notebook(book):
    return nbformat.read(book / "chapters" / "squares.ipynb", as_version=4)


def _change(book, old, new):
    path = book / "src" / "squares.md"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_run_writes_an_executed_notebook(built_book):
    notebook = _notebook(built_book)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in notebook.cells] == [f"squares-{n:02d}" for n in range(5)]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert code[0].source.endswith("show.setup(seed=0)") and code[0].outputs == []
    assert code[1].outputs[0].text == "mean in [0.4, 0.6]: ok\n"
    assert code[2].metadata.mystnb.image.alt == "A parabola from the origin."
    assert code[3].outputs[0].traceback == ["AssertionError: mean is 0.5, outside [0.6, 0.7]"]
    assert make.main(["check"], built_book) == 0


def test_built_notebook_has_one_normal_form(built):
    notebook = nbformat.reads(built, as_version=4)
    assert built == json.dumps(json.loads(built), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert dict(notebook.metadata) == source.METADATA
    assert str(ROOT) not in built


def test_run_again_has_nothing_to_do(built_book, built):
    assert make.main(["run"], built_book) == 0
    assert (built_book / "chapters" / "squares.ipynb").read_text() == built


def test_new_prose_keeps_the_outputs(built_book, capsys):
    _change(built_book, "A square is", "The square of a number is")
    assert make.main(["check"], built_book) == 1
    assert make.main(["sync"], built_book) == 0
    assert "prose updated" in capsys.readouterr().out
    assert make.main(["check"], built_book) == 0
    assert _notebook(built_book).cells[2].outputs


def test_new_code_makes_a_chapter_stale(built_book, built, capsys):
    _change(built_book, "linspace(0, 1, 5)", "linspace(0, 1, 9)")
    assert make.main(["sync"], built_book) == 1
    assert make.main(["check"], built_book) == 1
    assert "is older than its source" in capsys.readouterr().err
    assert (built_book / "chapters" / "squares.ipynb").read_text() == built


@pytest.mark.parametrize("name", ["metrics.mse", "mse", "gone", "metrics.gone"])
def test_shown_code_that_changed_makes_a_chapter_stale(name):
    from impl import metrics, show

    def outdated(text):
        cells = [
            nbformat.v4.new_code_cell("from impl import metrics\nfrom impl.metrics import gone, mse"),
            nbformat.v4.new_code_cell(f"show.source({name})\nlater = 1\nshow.source(later)"),
        ]
        forms = {"text/markdown": f"```python\n{text}\n```", "text/plain": text}
        cells[1].outputs = [nbformat.v4.new_output("display_data", forms)] * 2
        return list(listings.outdated(nbformat.v4.new_notebook(cells=cells)))

    assert outdated("def mse():\n    ...") == [name]
    assert outdated(show.listing(metrics.mse)) == ([name] if "gone" in name else [])


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('look here')", "writes to standard error: .*look here"),
    ],
)
def test_run_refuses_a_chapter_that_fails(built_book, built, capsys, cell, reason):
    _change(built_book, "x = torch.linspace(0, 1, 5)", f"x = torch.linspace(0, 1, 5)\n{cell}")
    assert make.main(["run", "--once", "squares"], built_book) == 1
    assert "squares: not written" in (errors := capsys.readouterr().err)
    assert re.search(reason, errors, re.DOTALL)
    assert (built_book / "chapters" / "squares.ipynb").read_text() == built


def test_run_refuses_text_that_depends_on_the_processor(book, capsys):
    # The two profiles differ in this variable, as two processors differ in the last digits of a sum.
    _change(book, "x = torch", "import os\nprint(os.environ.get('ATEN_CPU_CAPABILITY'))\nx = torch")
    if len({str(execution.numerics(second)) for second in (False, True)}) == 1:
        pytest.skip("this processor has one set of kernels only")
    assert make.main(["run"], book) == 1
    assert "cell squares-02 depends on the processor: 'avx2' against 'default'" in capsys.readouterr().err
    assert not (book / "chapters" / "squares.ipynb").exists()


def test_an_unknown_chapter_is_one_sentence(book, capsys):
    assert make.main(["run", "cubes"], book) == 1
    assert capsys.readouterr().err == "no chapter 'cubes': book/src holds squares\n"


def test_a_notebook_without_source_is_reported(built_book, capsys):
    (built_book / "src" / "squares.md").unlink()
    assert make.main(["check"], built_book) == 1
    assert "has no source in book/src; delete it" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["", "{", '{"cells": 3}', "[]", "\x80"])
def test_a_damaged_notebook_is_one_sentence(built_book, capsys, damage):
    (built_book / "chapters" / "squares.ipynb").write_text(damage, "latin-1")
    assert make.main(["check"], built_book) == 1
    assert "squares.ipynb: is not a notebook; run" in capsys.readouterr().err
    assert make.main(["sync"], built_book) == 1
    assert "squares: its code, or code that it shows, changed; run it" in capsys.readouterr().err


def _png(shade):
    buffer = io.BytesIO()
    imsave(buffer, np.full((8, 8, 3), shade), format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_picture_that_hardly_changed_keeps_its_bytes():
    assert execution.same_picture(_png(0.5), _png(0.502))
    assert not execution.same_picture(_png(0.5), _png(0.6))


def _output(cell, **data):
    cell.outputs = [nbformat.v4.new_output("display_data", data)]


def _print(cell, text, name="stdout"):
    cell.outputs = [nbformat.v4.new_output("stream", name=name, text=text)]


def _add_picture(cell):
    cell.outputs.append(cell.outputs[0])


def _code(cells, text):
    cells[2].source = text


# What is done to the built notebook, and what `check` says of it. Cells: prose, setup, band, figure, error.
BREAKS = {
    "unrun": (lambda c: c[2].update(execution_count=None), "execution counts"),
    "out of order": (lambda c: c[2].update(execution_count=9), "execution counts"),
    "setup": (lambda c: c[1].update(source="from impl import show"), "older than its source"),
    "title": (lambda c: c[0].update(source="Squares"), "does not begin with a title"),
    "stderr": (lambda c: _print(c[2], "careful", "stderr"), "wrote to standard error"),
    "error": (lambda c: c[4].metadata.update(tags=[]), "raised AssertionError without the tag"),
    "path printed": (lambda c: _print(c[2], "in /home/me/data.bin"), "absolute path '/home/me/data.bin'"),
    "path in code": (lambda c: _code(c, "open('/etc/passwd')"), "absolute path '/etc/passwd'"),
    "digits": (lambda c: _print(c[2], "loss 0.12345"), "prints 0.12345"),
    "digits of a tensor": (lambda c: _print(c[2], "tensor([12.3457])"), "prints 12.3457"),
    "html": (lambda c: _output(c[2], **{"text/html": "<b>"}), "shows text/html"),
    "no alt": (lambda c: c[3].metadata.pop("mystnb"), "without alternative text"),
    "plain figure": (
        lambda c: c[3].outputs[0].data.update({"text/plain": "<Figure size 7x3 with 1 Axes>"}),
        "without alternative text",
    ),
    "two pictures": (lambda c: _add_picture(c[3]), "shows 2 pictures"),
    "large picture": (
        lambda c: c[3].outputs[0].data.update({"image/png": base64.b64encode(bytes(60_001)).decode()}),
        "picture of 60001 bytes",
    ),
    "large notebook": (lambda c: _print(c[2], "x" * 400_000), "more than 400000"),
    "shell": (lambda c: _code(c, "!pip install codebook"), "not plain Python"),
    "import": (lambda c: _code(c, "import pandas as pd"), "imports pandas"),
    "network": (lambda c: _code(c, "from urllib.request import urlopen"), "imports urllib.request"),
    "address": (lambda c: _code(c, "load('https://example.org/x')"), "chapters fetch nothing"),
    "tag": (lambda c: c[2].metadata.update(tags=["nbval-check-output"]), "has the tag"),
    "reason": (lambda c: c[2].metadata.update(tags=["nbval-ignore-output"]), "comment that says why"),
    "skip": (lambda c: c[2].metadata.update(tags=["nbval-skip"]), "without the tag 'gpu'"),
    "budget": (
        lambda c: [cell.metadata.update(tags=["nbval-ignore-output"]) for cell in c[2:]],
        "3 cells that nbval does not compare",
    ),
    "no claim": (lambda c: [cell.update(source="x = 1") for cell in c[2:]], "claims nothing"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_check_sees(built_book, name):
    change, message = BREAKS[name]
    notebook = _notebook(built_book)
    change(notebook.cells)
    source.write(notebook, built_book / "chapters" / "squares.ipynb")
    assert any(message in problem for problem in rules.check(built_book))


def test_check_limits_the_number_of_cells(built_book):
    notebook = _notebook(built_book)
    notebook.cells += [nbformat.v4.new_code_cell("x", id=f"more-{n}") for n in range(28)]
    source.write(notebook, built_book / "chapters" / "squares.ipynb")
    assert any("has 31 code cells, more than 30" in problem for problem in rules.check(built_book))


@pytest.mark.parametrize(
    "text", ["PSNR 24.15", "0.0001234", "123456 codes", "torch 2.13.0", "1e-05", "shape (3, 32, 32)", "1/2/3"]
)
def test_check_lets_pass(built_book, text):
    notebook = _notebook(built_book)
    _print(notebook.cells[2], text)
    source.write(notebook, built_book / "chapters" / "squares.ipynb")
    assert rules.check(built_book) == []


def test_setup_cell_names_the_books_repository():
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    compile(source.SETUP.format(url=url), "setup", "exec")
    assert url in source.SETUP.format(url=url)


SANITISED = {
    "<Codebook at 0x7f3a2b1c9d00>": "<Codebook at ADDRESS>",
    "saved in /tmp/tmpab_12/model.safetensors": "saved in TEMPORARY",
    "<Figure size 700x360 with 2 Axes>": "FIGURE",
    "done\ntime: 3.2 s\nend": "done\ntime: DURATION\nend",
    "torch 2.13.0+cpu on Python 3.11.7": "VERSION on VERSION",
    "PSNR 24.15 in [22, 26], 0x1f codes": "PSNR 24.15 in [22, 26], 0x1f codes",
    "runtime: 3.2 s": "runtime: 3.2 s",
    "<audio src='data:audio/wav;base64,UklGRg+/=='>": "<audio src='SOUND'>",
}


def test_sanitise_file_holds_every_pair_that_it_seems_to_hold():
    text = (ROOT / "tests" / "nbval_sanitize.cfg").read_text()
    pairs = get_sanitize_patterns(text)
    assert len(pairs) == text.count("\nregex:") == text.count("\nreplace:") == 6


@pytest.mark.parametrize("text", SANITISED)
def test_sanitise_file_hides_only_what_differs_between_equal_runs(text):
    sanitised = text
    for pattern, replacement in get_sanitize_patterns((ROOT / "tests" / "nbval_sanitize.cfg").read_text()):
        sanitised = re.sub(pattern, replacement, sanitised)
    assert sanitised == SANITISED[text]
