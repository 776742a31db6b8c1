"""Graphs whose nodes have features and a class, for learning from few labels.

One family is drawn with a structure that is known (a stochastic block model), one is small enough to look at, and the
released citation graphs are read where their files are on disk. Same arguments, same graph.
"""

import os
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from impl.data.files import locate

#: Files of the released graphs; see `released_nodes` for what they hold.
RELEASED = {"cora": "cora.npz", "citeseer": "citeseer.npz"}


@dataclass(frozen=True, eq=False)
class NodeGraph:
    """An undirected graph of N nodes with features and classes, and which nodes are labelled.

    Attributes:
        features: (N, F) float32.
        edges: (E, 2) int64, each edge listed once, no loops.
        labels: (N,) int64 from 0; -1 where the class is not known.
        train: numbers of the nodes whose class may be learned from.
        valid: numbers of others, to choose by.
        test: numbers of others, to judge by.
    """

    features: Tensor
    edges: Tensor
    labels: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        nodes = len(self.features)
        if self.edges.ndim != 2 or self.edges.shape[1] != 2 or self.edges.dtype != torch.int64:
            raise ValueError(
                f"edges must be int64 of shape (E, 2), got {self.edges.dtype} {tuple(self.edges.shape)}."
            )
        if self.edges.numel() and not 0 <= int(self.edges.min()) <= int(self.edges.max()) < nodes:
            raise ValueError(f"edges must join nodes 0 to {nodes - 1}, they go beyond.")
        if self.labels.shape != (nodes,):
            raise ValueError(f"labels must have shape {(nodes,)}, got {tuple(self.labels.shape)}.")

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.features)

    @property
    def num_classes(self) -> int:
        """How many classes the labels name."""
        return int(self.labels.max()) + 1

    def renumbered(self, order: Tensor) -> "NodeGraph":
        """Return the same graph with node order[i] (N,) called i."""
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        splits = (place[split] for split in (self.train, self.valid, self.test))
        return NodeGraph(self.features[order], place[self.edges], self.labels[order], *splits)


def block_graph(
    blocks: int = 3,
    size: int = 100,
    classes: int | None = None,
    within: float = 0.08,
    between: float = 0.01,
    features: int = 16,
    spread: float = 0.7,
    labelled: int = 5,
    seed: int = 0,
) -> NodeGraph:
    """Draw a stochastic block model whose nodes show their block, dimly, in their features.

    A block's features are normal about a mean that is itself normal, with standard deviation `spread`. So a node alone
    says little about its block, and its neighbourhood much. Half of the nodes without a label in training are for
    validation, half for testing.

    Args:
        blocks: how many.
        size: nodes of each.
        classes: block b is of class b modulo classes; by default each block is a class. Fewer classes than blocks
            make structure that the labels do not name.
        within: probability of an edge inside a block.
        between: the same between two blocks.
        features: F.
        spread: of the blocks' means, where the noise has 1.
        labelled: training labels of each class.
        seed: of everything.
    """
    generator = torch.Generator().manual_seed(seed)
    block = torch.arange(blocks).repeat_interleave(size)
    means = spread * torch.randn(blocks, features, generator=generator)
    values = means[block] + torch.randn(len(block), features, generator=generator)
    chance = torch.where(block[:, None] == block, within, between)
    drawn = torch.rand(chance.shape, generator=generator) < chance
    labels = block % (classes or blocks)
    return _split(values, drawn.triu(1).nonzero(), labels, labelled, generator)


def karate_club() -> NodeGraph:
    """Return Zachary's karate club, 34 members and 78 friendships, from networkx; the class is the faction.

    A node's features say which one it is and nothing else; the two leaders are labelled.
    """
    import networkx  # here: half a second that the other graphs do not need

    graph = networkx.karate_club_graph()
    labels = torch.tensor([int(club != "Mr. Hi") for _, club in graph.nodes(data="club")])
    edges = torch.tensor(sorted(tuple(sorted(edge)) for edge in graph.edges()))
    others = torch.arange(1, len(labels) - 1)
    return NodeGraph(torch.eye(len(labels)), edges, labels, torch.tensor([0, 33]), others[:0], others)


def released_nodes(name: str = "cora", root: str | os.PathLike | None = None) -> NodeGraph:
    """Load a released citation graph, with its published split and rows of features that sum to 1.

    Its file is an npz of plain arrays: the words of each paper in compressed rows (`x_data`, `x_indices`, `x_indptr`,
    `x_shape`), `y`, `edges` (2, E), `train_idx`, `val_idx` and `test_idx`.

    Args:
        name: one of `RELEASED`.
        root: the data folder, or the graph's own; by default the folder that `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: an unknown name, or a damaged file.
    """
    if name not in RELEASED:
        raise ValueError(f"name must be one of {', '.join(RELEASED)}, got {name!r}.")
    path = locate([RELEASED[name]], ["planetoid", name], root)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files}
        rows, columns = arrays["x_shape"].tolist()
        words = torch.zeros(rows, columns)
        row = torch.arange(rows).repeat_interleave(arrays["x_indptr"].diff())
        words[row, arrays["x_indices"].long()] = arrays["x_data"]
        splits = (arrays[key].long() for key in ("train_idx", "val_idx", "test_idx"))
        edges, labels = arrays["edges"].long().T.contiguous(), arrays["y"].long()
    except (BadZipFile, KeyError, EOFError, OSError, IndexError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again.") from error
    return NodeGraph(words / words.sum(dim=1, keepdim=True).clamp(min=1), edges, labels, *splits)


def _split(
    features: Tensor, edges: Tensor, labels: Tensor, labelled: int, generator: torch.Generator
) -> NodeGraph:
    """Draw `labelled` training nodes of each class; halve the rest."""
    order = torch.randperm(len(labels), generator=generator)
    train = torch.cat([order[labels[order] == label][:labelled] for label in labels.unique()])
    rest = order[~torch.isin(order, train)]
    return NodeGraph(features, edges, labels, train, *rest.tensor_split(2))
