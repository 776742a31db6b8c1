"""Small catalogs to be wrong in, and large ones to be fast in."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from survey.catalog import Catalog, Section, Work
from survey.cli import app
from survey.validate import check

FACETS = """\
kind: {quantizer: latents into codes, tokenizer: samples into codes, model: something with codes}
techniques: {VQ: one codebook, RVQ: residual codebooks, FSQ: rounding}
modalities: {image: still pictures, audio: sound}
tasks: {reconstruction: back to the sample, generation: new samples}
llm: {Llama: a family of backbones, Qwen: another}
"""

SECTIONS = """\
- {number: "2", slug: fundamental, title: Fundamental techniques, parent: null, chapters: []}
- {number: "2.1", slug: vector-quantization, title: Vector quantization, parent: "2", chapters: [vq]}
- {number: "2.5", slug: finite-scalar, title: Finite scalar, parent: "2", chapters: []}
- {number: "5.10", slug: many, title: Many modalities, parent: null, chapters: []}
"""

PAPERS = r"""
@inproceedings{oord2017neural,
  author = {van den Oord, A{\"a}ron and Vinyals, Oriol and Kavukcuoglu, Koray},
  title = {Neural Discrete Representation Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017},
  pages = {6306--6315},
  eprint = {1711.00937},
  archivePrefix = {arXiv},
}

@misc{doe2024odd,
  author = {{Discrete AI} and Doe, Jos{\'e}},
  title = {{<script>}alert("1") \& costs \$5: a ``{Tale}'' of 100\% C\#},
  year = {2024},
  doi = {10.1000/182},
}
"""

VQ_VAE = """\
name: VQ-VAE
cite: oord2017neural
kind: quantizer
sections: ["2.1"]
techniques: [VQ]
modalities: [image, audio]
tasks: [reconstruction, generation]
implementation: impl.quantizers.vq_vae:VectorQuantizer
claim: Codes are discrete.
evidence: tests/test_vq.py::test_discrete
fidelity:
  kept: [the three losses]
  simplified: []
  left_out: [WaveNet]
"""

ODD = """\
name: Odd
cite: doe2024odd
kind: model
sections: ["2.1", "5.10"]
llm: [Llama]
builds_on: [vq-vae]
aliases: [strange]
note: |
  Two lines,
  "quoted".
"""

BASE = "class Quantizer:\n    pass\n"

MODULE = """\
from impl.quantizers.base import Quantizer


class VectorQuantizer(Quantizer):
    pass
"""

CHAPTER = """\
# Vector quantization

```{code-cell} ipython3
:tags: [hide-input]
from impl.quantizers.vq_vae import VectorQuantizer
VectorQuantizer()
```
"""


@dataclass
class Repository:
    """A repository with a catalog of two works and one of everything that a catalog links to."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "survey"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the repository and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def replace(self, name: str, old: str, new: str) -> int:
        """Change the one ``old`` in a file to ``new`` and return its line."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    def append(self, name: str, text: str) -> int:
        """Append to a file and return the line that ``text`` starts on."""
        before = (self.folder / name).read_text(encoding="utf-8")
        self.write(name, before + text)
        return before.count("\n") + 1

    def problems(self) -> list[tuple[str, int, str]]:
        """Return everything that is wrong with the catalog and its links."""
        return [(problem.file, problem.line, problem.message) for problem in check(self.root)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def repository(tmp_path) -> Repository:
    """A sound repository, to be broken by the test."""
    repository = Repository(tmp_path / "repository")
    files = {
        "survey/facets.yml": FACETS,
        "survey/sections.yml": SECTIONS,
        "survey/papers.bib": PAPERS,
        "survey/systems/vq-vae.yml": VQ_VAE,
        "survey/systems/odd.yml": ODD,
        "survey/saved_queries.yml": "- {name: Newest, query: 'year>=2020', about: What came last.}\n",
        "survey/results/vq.csv": "id,metric,value\nvq-vae,PSNR,24.1\n",
        "impl/__init__.py": "",
        "impl/quantizers/__init__.py": "",
        "impl/quantizers/base.py": BASE,
        "impl/quantizers/vq_vae.py": MODULE,
        "tests/test_vq.py": "def test_discrete():\n    assert True\n",
        "book/src/vq.md": CHAPTER,
        "book/_toc.yml": "format: jb-book\nroot: intro\nchapters:\n- file: chapters/vq\n",
    }
    for name, text in files.items():
        repository.write(name, text)
    return repository


@pytest.fixture
def run(repository):
    """Run a verb on the small catalog in this process; the result has exit_code, stdout and stderr."""

    def invoke(*arguments: str):
        result = CliRunner().invoke(app, ["--root", str(repository.root), *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture(scope="session")
def large_catalog() -> Catalog:
    """Ten thousand invented works."""
    return synthetic_catalog(10_000)


def synthetic_catalog(count: int, seed: int = 0) -> Catalog:
    """Return ``count`` invented works with realistic word statistics, for measuring."""
    draw = random.Random(seed)
    vocabulary = [
        f"{a}{b}" for a in ("quan", "token", "code", "dis", "vec", "resi") for b in map(str, range(500))
    ]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    surnames = [f"Author{number}" for number in range(2000)]
    facets = {
        "kind": dict.fromkeys(["quantizer", "tokenizer", "model"], "a kind"),
        "techniques": dict.fromkeys(["VQ", "RVQ", "PQ", "AQ", "FSQ", "LFQ", "BSQ"], "a technique"),
        "modalities": dict.fromkeys(["image", "audio", "video", "graph", "action"], "a modality"),
        "tasks": dict.fromkeys(["reconstruction", "generation", "retrieval"], "a task"),
        "llm": dict.fromkeys(["Llama", "Qwen", "T5"], "a backbone"),
    }
    sections = tuple(
        Section(f"{a}.{b}", f"s-{a}-{b}", f"Section {a}.{b}") for a in range(2, 6) for b in range(1, 9)
    )
    works = []
    for number in range(count):
        words = draw.choices(vocabulary, weights, k=9)
        pick = {name: tuple(draw.sample(list(values), draw.randint(0, 2))) for name, values in facets.items()}
        works.append(
            Work(
                id=f"work-{number}",
                key=f"key{number}",
                name=words[0],
                title=" ".join(words),
                authors=tuple(draw.sample(surnames, 4)),
                year=draw.randint(1990, 2026),
                venue=draw.choice(["NeurIPS", "ICLR", "CVPR", "arXiv"]),
                kind=draw.choice(list(facets["kind"])),
                sections=(draw.choice(sections).number,),
                arxiv=f"{draw.randint(1000, 2600)}.{number % 100000:05d}",
                **{name: pick[name] for name in ("techniques", "modalities", "tasks", "llm")},
                implementation="impl:Class" if draw.random() < 0.3 else None,
            )
        )
    works.sort(key=lambda work: (work.year, work.id))
    return Catalog(tuple(works), sections, facets)
