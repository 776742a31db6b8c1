"""The shape of the catalog's YAML files, and one plain sentence for each way to miss it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from survey.problems import one_of

ID_FORM = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S(?:[\s\S]*\S)?\s?$")]
Line = Annotated[str, StringConstraints(pattern=r"^\S(?:.*\S)?$")]
Slug = Annotated[str, StringConstraints(pattern=rf"^{ID_FORM.pattern}$")]
Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"]+$")]
Target = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
Test = Annotated[str, StringConstraints(pattern=r"^tests/[\w/]+\.py(?:::[A-Za-z_]\w*){1,2}$")]

FORMS = {
    "name": "one line of text",
    "aliases": "ids: lower-case letters, digits and single hyphens",
    "builds_on": "ids: lower-case letters, digits and single hyphens",
    "slug": "lower-case letters, digits and single hyphens",
    "code": "an http or https address",
    "implementation": "module:Class, such as impl.quantizers.fsq:FSQ",
    "evidence": "tests/<file>.py::<test> or tests/<file>.py::<Class>::<test>",
}
"""What a value must look like, for the keys whose form is more than text."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Fidelity(_Strict):
    """What an implementation keeps of the paper, what it makes simpler and what it leaves out."""

    kept: list[Line] = Field(min_length=1)
    simplified: list[Line]
    left_out: list[Line]


class Record(_Strict):
    """systems/<id>.yml: what BibTeX has no field for."""

    name: Line
    cite: Line
    kind: Line
    sections: list[Line] = Field(min_length=1)
    techniques: list[Line] = []
    modalities: list[Line] = []
    tasks: list[Line] = []
    llm: list[Line] = []
    builds_on: list[Slug] = []
    aliases: list[Slug] = []
    code: Address | None = None
    implementation: Target | None = None
    claim: Text | None = None
    evidence: Test | None = None
    fidelity: Fidelity | None = None
    note: Text | None = None
    provenance: dict[str, Text] = {}


class Node(_Strict):
    """One entry of sections.yml."""

    number: Line
    slug: Slug
    title: Line
    parent: Line | None = None
    chapters: list[Line] = []


class Facets(_Strict):
    """facets.yml: the legal values of each facet with their meanings."""

    kind: dict[str, Line]
    techniques: dict[str, Line]
    modalities: dict[str, Line]
    tasks: dict[str, Line]
    llm: dict[str, Line]


def legal_keys(model: type[BaseModel], path: tuple) -> list[str]:
    """Return the keys that the mapping around ``path`` may have."""
    inner = Fidelity if model is Record and len(path) > 1 and path[0] == "fidelity" else model
    return list(inner.model_fields)


def sentence(error: dict[str, Any], keys: list[str]) -> str:
    """Return one of pydantic's errors as a sentence that names the key, what was given and what is legal."""
    path, given = error["loc"], error["input"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    shown = repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "..."
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key {name!r}: a key must be {one_of(str(path[-1]), keys)}"
        case "missing":
            return f"the key {name!r} is missing"
        case "model_type":
            return f"{name or 'the file'} must be a mapping of keys to values, given {shown}"
        case "list_type":
            return f"{name} must be a list, given {shown}"
        case "dict_type":
            return f"{name} must be a mapping, given {shown}"
        case "too_short":
            return f"{name} must not be empty"
        case "string_type":
            hint = f" (quote it: '{given}')" if isinstance(given, int | float) else ""
            return f"{name} must be text, given {shown}{hint}"
        case "string_pattern_mismatch" | "string_too_short":
            form = next((FORMS[part] for part in path if part in FORMS), "text, not empty or padded")
            return f"{name} must be {form}, given {shown}"
    return f"{name}: {error['msg']}, given {shown}"
