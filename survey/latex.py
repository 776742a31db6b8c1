"""LaTeX, as BibTeX files hold it, to Unicode text and back."""

from __future__ import annotations

import re
from functools import lru_cache

_ENCODED = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "@": r"{@}",  # some readers of BibTeX take any "@" that a word and a brace follow for a new entry
}
# LaTeX's ligatures: two of these in a row would be read as one other character
_LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=[?!])(?=\\textasciigrave)")
_DECODED = {
    **{"textbackslash": "\\", "textbraceleft": "{", "textbraceright": "}", "textasciicircum": "^"},
    **{"textasciitilde": "~", "textasciigrave": "`", "textquotedbl": '"'},
    **{"textless": "<", "textgreater": ">"},
}
# text in which braces are all that LaTeX means; most of a bibliography is, and need not be parsed
_PLAIN = re.compile(r"(?:[^\\$&%#_^~`'!?-]|-(?!-)|'(?!')|[!?](?!\{*`))*")


def encode(text: str) -> str:
    """Return ``text`` as LaTeX that ``decode`` turns back into it; letters beyond ASCII stay as they are.

    Runs of white space become one space, as BibTeX reads them.
    """
    encoded = "".join(_ENCODED.get(character, character) for character in " ".join(text.split()))
    return _LIGATURES.sub("{}", encoded)


def decode(source: str) -> str:
    """Return LaTeX ``source`` as Unicode text: accents, symbols, simple mathematics; braces dropped."""
    if _PLAIN.fullmatch(source):
        source = source.replace("{", "").replace("}", "")
    else:
        text, latex = _decoder()
        source = text.latex_to_text(source, latex_context=latex)
    return " ".join(source.split())


@lru_cache(maxsize=1)
def _decoder():
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
    from pylatexenc.latexwalker import get_default_latex_context_db as get_latex_syntax

    macros = get_default_latex_context_db()
    exact = [MacroTextSpec(name, character) for name, character in _DECODED.items()]
    macros.add_context_category("codebook", macros=exact, prepend=True)
    return LatexNodes2Text(latex_context=macros, math_mode="text"), get_latex_syntax()


def mistake(source: str) -> str | None:
    """Return what would be lost in reading ``source`` as LaTeX, as a sentence, or None when nothing would."""
    if re.search(r"(?<!\\)(?:\\\\)*%", source):
        return r"an unescaped % starts a LaTeX comment: write \%"
    if len(re.findall(r"(?<!\\)(?:\\\\)*\$", source)) % 2:
        return r"an unescaped $ opens mathematics that nothing closes: write \$"
    return None
