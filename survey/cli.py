"""The command line: ``python -m survey VERB``, installed as ``codebook VERB``.

Results go to stdout, diagnostics to stderr. The exit code is 0 when something was found (or all is well), 1
when nothing was (or ``check`` found problems), 2 when the query, an argument or the catalog makes no sense.
What only one verb needs is imported inside it, so that a cold query stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from survey.verbs import count, find, use, whole

app = typer.Typer(
    help="The catalog of discrete tokenization: find works, count them, cite them, open their code.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.callback()
def options(
    context: typer.Context,
    root: Annotated[
        Path | None, typer.Option(help="The folder of another catalog.", show_default=False)
    ] = None,
) -> None:
    """Keep the catalog's folder for the verb."""
    context.obj = root


# A query may begin with "-": what is no option of a verb belongs to the query.
_query = {"ignore_unknown_options": True}

app.command(context_settings=_query)(find.query)
app.command()(find.show)
app.command()(count.tree)
app.command()(count.facets)
app.command()(find.related)
app.command(context_settings=_query)(find.cite)
app.command()(find.code)
app.command()(count.stats)
app.command()(whole.export)
app.command()(whole.sql)
app.command()(whole.check)
app.command()(whole.new)
app.command()(whole.render)
app.command()(use.train)
app.command()(use.tokenize)
app.command()(use.detokenize)
