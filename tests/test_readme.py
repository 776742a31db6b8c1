"""What README and CONTRIBUTING say is so: the examples run, the files and snippets exist, the counts are right."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import survey

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(text, language):
    """The fenced code blocks of a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line for block in blocks(README, "sh") for line in block.splitlines() if line.startswith("codebook")
]
EXAMPLES = blocks(README, "python")


def test_the_readme_has_its_three_examples():
    assert len(COMMANDS) >= 3 and len(EXAMPLES) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_commands_find_something(command):
    arguments = [sys.executable, "-m", "survey", *shlex.split(command)[1:]]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.parametrize("number", range(2))
def test_the_readme_programs_run(number):
    program = (
        EXAMPLES[number]
        + {
            0: "\nassert codes.shape == (308, 8, 8, 1) and codes.max() < 256 and images.shape == (308, 3, 32, 32)",
            1: "\nassert catalog['bsq'].implementation",
        }[number]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_counts_the_works():
    assert f"all {len(survey.load().works)} works" in README


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_file_that_is_named_exists(text):
    named = re.findall(r"`((?:survey|impl|tests|book)/[\w./-]+)`|\]\((?!http)([\w./-]+)\)", text)
    missing = [path for pair in named for path in pair if path and not (ROOT / path).exists()]
    assert not missing


def test_the_contributing_example_is_the_module_and_the_catalog_entry():
    module = (ROOT / "impl/quantizers/rotation_trick.py").read_text(encoding="utf-8")
    assert (
        "class RotationTrickVQ(VectorQuantizer):" in module and "return rotate(vectors, codewords)" in module
    )
    (snippet,) = blocks(CONTRIBUTING, "yaml")
    shown, kept = yaml.safe_load(snippet), survey.load()["rotation-trick"]
    assert (shown["implementation"], shown["claim"], shown["evidence"]) == (
        kept.implementation,
        kept.claim,
        kept.evidence,
    )


def test_the_contributing_command_adds_a_work(tmp_path):
    """The command as printed, on a copy of the catalog."""
    import shutil

    shutil.copytree(ROOT / "survey", tmp_path / "survey", ignore=shutil.ignore_patterns("__pycache__"))
    (block,) = [block for block in blocks(CONTRIBUTING, "sh") if "codebook new" in block]
    command = block.replace("\\\n", " ").splitlines()[0]
    arguments = [
        sys.executable,
        "-m",
        "survey",
        "--root",
        str(tmp_path / "survey"),
        *shlex.split(command)[1:],
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "survey/systems/my-method.yml").exists()
    assert "A Title as Printed" in (tmp_path / "survey/papers.bib").read_text(encoding="utf-8")
