"""Build the book's chapters: MyST sources in, executed notebooks out. One way only; nobody edits notebooks.

    python book/make.py sync             bring new prose into notebooks whose code is unchanged
    python book/make.py run [NAME ...]   execute chapters whose code, or code that they show, changed (or the
                                         named ones, or --all)
    python book/make.py run --once NAME  the same without the second execution: quick, for drafts
    python book/make.py check [NAME ...] seconds, no kernel: every rule that a built chapter must keep
    python book/make.py validate [...]   run every chapter again, compare each output (pytest --nbval)

How to write a chapter
----------------------
book/src/<name>.md is a MyST notebook; <name> is the chapter's address (book/chapters/<name>.html). It begins

    ---
    jupytext:
      text_representation: {extension: .md, format_name: myst}
    kernelspec: {name: python3, display_name: Python 3}
    ---
    # The chapter's title

    Prose in MyST: $math$, {cite:t}`oord2017neural`, a link to another chapter [in words](vq-vae.ipynb).

    ```{code-cell} python
    :tags: [hide-input]
    from impl.quantizers.fsq import FSQ

    show.source(FSQ.encode)
    ```

- The setup cell (imports `show`, seeds, one thread) is put before the first code cell; don't write it.
- Cells import torch, numpy, matplotlib, impl, survey and the standard library: no shell lines, no magics,
  no network.
- Print exact facts or claims: `show.band("PSNR (dB)", value, 22, 26)`,
  `show.less("VQ", a, "RVQ", b, margin=0.5)`, `assert`; at least one a chapter. Tables:
  `show.table(rows, columns=[...])`. At most 4 significant digits.
- One figure a cell: `show.figure(fig, alt="One sentence.")`. Its text twin holds the alt text and a digest of
  the plotted numbers; after long trainings pass digits=1 or 0. A caption, where wanted, goes under the tags:
  `:mystnb: {figure: {caption: "..."}}`.
- Tags: hide-input, hide-output, hide-cell, remove-*; raises-exception for an error shown on purpose;
  nbval-ignore-output (timings, versions) with a first comment line that says why, at most one cell in ten.
- Nothing on standard error (no warnings, no progress bars), at most 30 code cells, 60 s, pictures of 60 kB.
- Then, with its notebook built, add the chapter to book/_toc.yml and to its section in survey/sections.yml.

`run` executes twice, the second time with PyTorch's portable kernels and without oneDNN, and refuses a
chapter whose text differs: such a number would differ on a reader's machine too. Print it more coarsely.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pipeline.execution import CELL_TIMEOUT, difference, execute, normalise, numerics
from pipeline.listings import outdated
from pipeline.rules import check
from pipeline.source import (
    BOOK,
    Chapter,
    add_alternative_text,
    assemble,
    carry_outputs,
    chapters,
    code_of,
    inputs_of,
    write,
)
from tqdm import tqdm

TIME_BUDGET = 60  # seconds that one execution of a chapter may take


def sync(book: Path, names: tuple[str, ...]) -> list[Chapter]:
    """Bring new prose into notebooks whose code is unchanged; return the chapters that must run."""
    stale = []
    for chapter in chapters(book, names):
        new, old = assemble(chapter), chapter.read()
        if not carry_outputs(new, old) or any(outdated(new)):
            stale.append(chapter)
        elif inputs_of(new) != inputs_of(old):
            write(new, chapter.notebook)
            print(f"{chapter.name}: prose updated")
    return stale


def run(chapter: Chapter, twice: bool) -> bool:
    """Execute one chapter and write its notebook; tell whether it was written."""
    new, old = assemble(chapter), chapter.read()
    chapter.notebook.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with tqdm(total=len(code_of(new)) * (2 if twice else 1), desc=chapter.name, unit="cell") as bar:
        try:
            executed = execute(new, chapter.notebook.parent, after_cell=bar.update)
            seconds = time.perf_counter() - start
            again = execute(new, chapter.notebook.parent, True, bar.update) if twice else executed
        except (RuntimeError, ValueError) as error:
            bar.close()
            print(f"{chapter.name}: not written.\n{error}", file=sys.stderr)
            return False
    problem = difference(executed, again)
    if problem:
        print(f"{chapter.name}: not written. {problem}", file=sys.stderr)
        return False
    normalise(executed, old)
    add_alternative_text(executed)
    write(executed, chapter.notebook)
    print(f"{chapter.name}: written, {seconds:.0f} s" + (" (over budget)" if seconds > TIME_BUDGET else ""))
    return True


def validate(book: Path, names: tuple[str, ...], jobs: int) -> int:
    """Compare every output of the built chapters with a new run, strictly; return pytest's exit status."""
    notebooks = [str(chapter.notebook) for chapter in chapters(book, names)]
    if not notebooks:
        print("no chapters to validate")
        return 0
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--nbval-sanitize-with", str(BOOK.parent / "tests" / "nbval_sanitize.cfg")]
    command += ["--nbval-cell-timeout", str(CELL_TIMEOUT), "--nbval-kernel-startup-timeout", "120"]
    command += ["--durations=10", "-n", str(jobs), "--dist", "loadscope", *notebooks]
    return subprocess.run(command, env={**os.environ, **numerics()}, cwd=BOOK.parent, check=False).returncode


def main(arguments: list[str] | None = None, book: Path = BOOK) -> int:
    """Run one verb; return 0, or 1 where something is stale, fails or breaks a rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["sync", "run", "check", "validate"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="chapters (default: all)")
    parser.add_argument("--all", action="store_true", help="run: also chapters that are up to date")
    parser.add_argument("--once", action="store_true", help="run: skip the second numerics profile")
    parser.add_argument("--jobs", type=int, default=1, help="validate: chapters at a time (default: 1)")
    options = parser.parse_intermixed_args(arguments)
    names = tuple(options.names)
    try:
        if options.verb == "validate":
            return validate(book, names, options.jobs)
        if options.verb == "check":
            problems = check(book, names)
        else:
            stale = sync(book, names)
            if options.verb == "sync":
                problems = [
                    f"{chapter.name}: its code, or code that it shows, changed; run it" for chapter in stale
                ]
            else:
                chosen = chapters(book, names) if names or options.all else stale
                failed = [chapter.name for chapter in chosen if not run(chapter, twice=not options.once)]
                problems = [f"{name}: failed" for name in failed]
                written = tuple(chapter.name for chapter in chosen if chapter.name not in failed)
                problems += check(book, written) if written else []
    except FileNotFoundError as error:
        problems = [str(error)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
