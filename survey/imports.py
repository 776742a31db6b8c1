"""Importing the implementations, in a process of its own: a broken one cannot end the catalog's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

CONTRACTS = {
    "impl/quantizers/base.py": "Quantizer",
    "impl/quantizers/entities.py": "EntityQuantizer",
    "impl/tokenizers/base.py": "Tokenizer",
    "impl/tokenizers/graph/nodes.py": "NodeTokenizer",
}
"""Files that state a contract, and its class there: all modules of the file's folder are looked through."""


@dataclass(frozen=True)
class ContractClass:
    """A concrete class under a contract: ``module:Class``, where it stands, its own ``part_of``."""

    target: str
    file: str
    line: int
    part_of: str | None


@dataclass
class Code:
    """What importing the implementations showed."""

    failures: dict[str, str] = field(default_factory=dict)
    canonical: dict[str, str] = field(default_factory=dict)
    classes: list[ContractClass] = field(default_factory=list)
    broken_modules: list[tuple[str, str]] = field(default_factory=list)


def inspect_code(repository: Path, targets: list[str]) -> Code:
    """Import ``targets`` (``module:Class``) and every module under a contract, in ``repository``.

    ``failures`` says for a target why it is no class; ``canonical`` gives the module that defines it.
    """
    contracts = {file: name for file, name in CONTRACTS.items() if (repository / file).exists()}
    if not targets and not contracts:
        return Code()
    question = json.dumps({"targets": targets, "contracts": contracts})
    command = [sys.executable, "-c", _PROGRAM]
    run = subprocess.run(command, input=question, capture_output=True, cwd=repository, encoding="utf-8")
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
        return Code(failures={target: f"ends the Python that imports it: {reason}" for target in targets})
    answer = json.loads(run.stdout)
    return Code(
        answer["failures"],
        answer["canonical"],
        [ContractClass(*row) for row in answer["classes"]],
        [tuple(row) for row in answer["broken"]],
    )


# Reads the question on stdin and answers on stdout, which the imported modules cannot reach.
_PROGRAM = r"""
import contextlib, importlib, inspect, json, pathlib, sys
question, here = json.load(sys.stdin), pathlib.Path.cwd()
sys.path.insert(0, str(here))
answer = {"failures": {}, "canonical": {}, "classes": [], "broken": []}

def load(name):
    try:
        return importlib.import_module(name), None
    except (Exception, SystemExit) as error:
        return None, f"{type(error).__name__}: {' '.join(str(error).split())}"

def line_of(found):
    try:
        return inspect.getsourcelines(found)[1]
    except OSError:
        return 1

with contextlib.redirect_stdout(sys.stderr):
    for target in question["targets"]:
        name, _, attribute = target.partition(":")
        module, reason = load(name)
        if module is None:
            answer["failures"][target] = f"fails with {reason}"
        elif not isinstance(getattr(module, attribute, None), type):
            given = "is no class" if hasattr(module, attribute) else f"is not defined in {name}"
            answer["failures"][target] = given
        else:
            found = getattr(module, attribute)
            answer["canonical"][target] = f"{found.__module__}:{found.__qualname__}"
    for stated, contract in question["contracts"].items():
        base, reason = load(stated.removesuffix(".py").replace("/", "."))
        if base is None:
            if [stated, reason] not in answer["broken"]:
                answer["broken"].append([stated, reason])
            continue
        parent = getattr(base, contract)
        for path in sorted((here / stated).parent.rglob("*.py")):
            name = ".".join(path.relative_to(here).with_suffix("").parts).removesuffix(".__init__")
            module, reason = load(name)
            file = path.relative_to(here).as_posix()
            if module is None:
                if [file, reason] not in answer["broken"]:
                    answer["broken"].append([file, reason])
                continue
            for found in vars(module).values():
                own = isinstance(found, type) and found.__module__ == name and found is not parent
                if not own or not issubclass(found, parent) or inspect.isabstract(found):
                    continue
                row = [f"{name}:{found.__qualname__}", file, line_of(found), found.__dict__.get("part_of")]
                if row not in answer["classes"]:
                    answer["classes"].append(row)
json.dump(answer, sys.stdout)
"""
