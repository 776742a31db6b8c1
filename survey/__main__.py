"""``python -m survey`` and the ``codebook`` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. A reader that leaves early (``codebook query | head -1``) ends it silently."""
    from survey.cli import app

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode still gets every character
    try:
        app()
    except BrokenPipeError:
        _leave()
    except SystemExit:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _leave()
        raise


def _leave() -> None:
    # Python flushes stdout once more when it ends; there must be somewhere for that to go
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(1)


if __name__ == "__main__":
    main()
