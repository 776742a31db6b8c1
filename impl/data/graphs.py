"""Knowledge graphs: triples of head, relation and tail, split for link prediction.

One is synthetic with a structure that is known, one is made of a catalog of works, and the released benchmarks are read
where their files are on disk. All are deterministic: same arguments, same graph.
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impl.data.files import locate

Triple = tuple[str, str, str]

#: Folders in which each released graph is looked for.
RELEASED = {
    "umls": ("kg-small/umls", "umls"),
    "kinships": ("kg-small/kinships", "kinships"),
    "nations": ("kg-small/nations", "nations"),
    "codex-s": ("kg-codex/codex-s", "codex-s"),
    "codex-m": ("kg-codex/codex-m", "codex-m"),
    "wn18rr": ("kg-wn18rr", "wn18rr", "WN18RR"),
    "fb15k-237": ("kg-fb15k237", "fb15k-237", "FB15k-237"),
}


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Triples (head, relation, tail) of numbered entities and relations, in three splits.

    Structure (anchors, degrees, neighbours) is always read from `train` alone.

    Attributes:
        entities: N names; their places are the entities' numbers.
        relations: R names, likewise.
        train: (T, 3) int64.
        valid: (V, 3) int64.
        test: (U, 3) int64.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    train: Tensor
    valid: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        limits = torch.tensor([self.num_entities, self.num_relations, self.num_entities])
        for name in ("train", "valid", "test"):
            triples = getattr(self, name)
            if triples.ndim != 2 or triples.shape[1] != 3 or triples.dtype != torch.int64:
                raise ValueError(
                    f"{name} must be int64 of shape (T, 3), got {triples.dtype} {tuple(triples.shape)}."
                )
            if bool(((triples < 0) | (triples >= limits)).any()):
                raise ValueError(
                    f"{name} must number {limits[0]} entities and {limits[1]} relations from 0, it goes beyond."
                )

    @property
    def num_entities(self) -> int:
        """N."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """R, inverses not counted."""
        return len(self.relations)

    @property
    def triples(self) -> Tensor:
        """All that is known to be true, the three splits one after another: (T + V + U, 3)."""
        return torch.cat([self.train, self.valid, self.test])

    @cached_property
    def edges(self) -> Tensor:
        """The training triples and then their inverses (tail, R + relation, head): (2T, 3).

        The relation of an edge is the role of the entity that it leaves: r as a head of r, R + r as a tail of it.
        """
        head, relation, tail = self.train.unbind(1)
        inverses = torch.stack([tail, relation + self.num_relations, head], dim=1)
        return torch.cat([self.train, inverses])


def read_triples(path: str | os.PathLike) -> list[Triple]:
    """Read a file of triples, one a line, tab-separated, gzip-compressed when its name ends in `.gz`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or a line has not three fields; the sentence names the line.
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again.") from error
    triples = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = tuple(line.rstrip("\r").split("\t"))
        if len(fields) == 3 and all(fields):
            triples.append(fields)
        elif line.strip():
            raise ValueError(f"{path}:{number} must be head, relation and tail, tab-separated, got {line!r}.")
    return triples


def released_graph(name: str, root: str | os.PathLike | None = None) -> KnowledgeGraph:
    """Load a released benchmark from its files `train`, `valid` and `test` (`.txt` or `.txt.gz`).

    Args:
        name: one of `RELEASED`.
        root: the data folder, or the graph's own; by default the folder that `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: the files are not there.
        ValueError: an unknown name, or a damaged file.
    """
    if name not in RELEASED:
        raise ValueError(f"name must be one of {', '.join(RELEASED)}, got {name!r}.")
    splits = (
        read_triples(locate([f"{split}.txt", f"{split}.txt.gz"], RELEASED[name], root))
        for split in ("train", "valid", "test")
    )
    return graph_of(*splits)


def graph_of(
    train: Iterable[Triple], valid: Iterable[Triple] = (), test: Iterable[Triple] = ()
) -> KnowledgeGraph:
    """Number the entities and relations of named triples, each in alphabetical order."""
    splits = [list(triples) for triples in (train, valid, test)]
    every = [triple for triples in splits for triple in triples]
    entities = tuple(sorted({name for head, _, tail in every for name in (head, tail)}))
    relations = tuple(sorted({relation for _, relation, _ in every}))
    entity = {name: number for number, name in enumerate(entities)}
    relation = {name: number for number, name in enumerate(relations)}
    numbered = (
        torch.tensor([(entity[h], relation[r], entity[t]) for h, r, t in triples], dtype=torch.int64).reshape(
            -1, 3
        )
        for triples in splits
    )
    return KnowledgeGraph(entities, relations, *numbered)


def split_triples(triples: Iterable[Triple], share: float = 0.1, seed: int = 0) -> KnowledgeGraph:
    """Split named triples at random: a `share` for testing, as many for validation, the rest for training.

    A triple whose entity or relation would not occur in training otherwise stays there, so the held-out splits may
    come out smaller.

    Raises:
        ValueError: a share outside 0 to 0.5.
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"share must be at least 0 and below 0.5, got {share}.")
    every = sorted(set(triples))
    generator = torch.Generator().manual_seed(seed)
    order = [every[place] for place in torch.randperm(len(every), generator=generator).tolist()]
    seen: set[tuple[str, str]] = set()
    kept, free = [], []
    for triple in order:
        named = {("entity", triple[0]), ("relation", triple[1]), ("entity", triple[2])}
        (free if named <= seen else kept).append(triple)
        seen |= named
    held = round(share * len(every))
    test, valid, rest = free[:held], free[held : 2 * held], free[2 * held :]
    return graph_of(kept + rest, valid, test)


def torus_graph(sides: Sequence[int] = (25, 20), seed: int = 0) -> KnowledgeGraph:
    """Make a graph whose truth is known: points of a torus, and eight translations between them.

    Four relations are translations drawn at random; the other four are compositions of two of these. Every point is
    the head of each relation once, its tail being the point that the translation leads to: so RotatE can represent
    the whole graph exactly, and held-out triples follow from the others. A tenth each is for validation and testing.

    Args:
        sides: points along each dimension of the torus; their product is N.
        seed: draws the translations and the split.
    """
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(*(torch.arange(side) for side in sides)).reshape(-1, len(sides))
    size = torch.tensor(list(sides))
    steps = torch.stack([torch.randint(1, side, (4,), generator=generator) for side in sides], dim=1)
    steps = torch.cat([steps, steps + steps.roll(1, dims=0)]) % size
    names = ["-".join(map(str, point)) for point in grid.tolist()]
    triples = [
        (name, f"step-{number}", "-".join(map(str, point)))
        for number, step in enumerate(steps)
        for name, point in zip(names, ((grid + step) % size).tolist(), strict=True)
    ]
    return split_triples(triples, seed=seed)


def catalog_graph(works: Iterable[Any], seed: int = 0) -> KnowledgeGraph:
    """Make a graph of a catalog: works, and what each is said to be, use and build on.

    Relations: in_section, of_kind, uses (techniques), of_modality, does (tasks), runs_on (language models),
    published_in (venues), written_by (authors) and builds_on (other works). Venues and authors of a single work say
    nothing about others and are left out.

    Args:
        works: objects with the attributes of `survey.catalog.Work`; `survey.load().works` is such.
        seed: of the split, a tenth each for validation and testing.
    """
    works = list(works)
    fields = {
        "in_section": "sections",
        "uses": "techniques",
        "of_modality": "modalities",
        "does": "tasks",
        "runs_on": "llm",
        "written_by": "authors",
    }
    found = []
    for work in works:
        head = f"work {work.id}"
        found += [
            (head, name, f"{name} {value}")
            for name, field in fields.items()
            for value in getattr(work, field)
        ]
        found += [(head, "builds_on", f"work {other}") for other in work.builds_on]
        found += [(head, "of_kind", f"of_kind {work.kind}")]
        found += [(head, "published_in", f"published_in {work.venue}")] if work.venue else []
    tails: dict[str, set[str]] = {}
    for head, _, tail in found:
        tails.setdefault(tail, set()).add(head)
    rare = {"written_by", "published_in"}
    return split_triples((t for t in found if t[1] not in rare or len(tails[t[2]]) > 1), seed=seed)
