"""Every package that the project imports is pinned, with its reason."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("book", "impl", "survey", "tests")
OWN = {*FOLDERS, "make", "pipeline"}


def _imported():
    """The packages that the project's modules import, without the standard library's and its own."""
    modules = set()
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - OWN


def test_every_import_is_pinned_with_its_reason():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    reasons = {re.split(r"[\[=]", line)[0].lower(): line for line in lines if "==" in line and "  # " in line}
    distributions = packages_distributions()
    for module in sorted(_imported()):
        names = [name.lower() for name in distributions.get(module, [module])]
        assert any(name in reasons or name.replace("-", "_") in reasons for name in names), (
            f"{module} is imported, and requirements.txt does not say why"
        )


def test_every_line_pins_one_version():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        assert re.match(r"[\w.-]+(\[[\w,]+\])?==[\w.]+(; [^#]+)?( +# .+)?$", line), line
