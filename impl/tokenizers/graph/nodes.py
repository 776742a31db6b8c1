"""The contract of a node tokenizer: the nodes of a graph, seen with their surroundings, to codes.

`Tokenizer` (`impl.tokenizers.base`) maps samples, independent of each other, to grids of codes. A node is no sample:
its code depends on its neighbours, a whole graph is encoded at once, and what codes decode to is features and links.
What every node tokenizer must keep is in `impl.checks_nodes`.
"""

from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from impl.data.node_graphs import NodeGraph, block_graph


class Nodes(NamedTuple):
    """What node codes decode to.

    Attributes:
        features: (N, F).
        links: (N, E); the larger the inner product of two rows, the likelier an edge between the two nodes.
    """

    features: Tensor
    links: Tensor


class NodesTokenized(NamedTuple):
    """What a node tokenizer's forward pass returns.

    Attributes:
        reconstruction: of the nodes.
        codes: int64 (N, M).
        losses: named scalars, already weighted; training adds their sum.
    """

    reconstruction: Nodes
    codes: Tensor
    losses: dict[str, Tensor]


class NodeTokenizer(nn.Module):
    """Maps the nodes of any graph with F features a node to codes (N, M) and back.

    A subclass sets `features` and `quantizer` and writes `latents`, `reconstruct` and `forward`, which hands its input
    to `check_nodes` first. Nothing in it may be sized by the number of nodes.
    """

    features: int
    quantizer: nn.Module
    #: Arguments of a small working instance for graphs of 16 features and 3 classes.
    SMALL: ClassVar[dict[str, Any]] = {}
    #: Laws of `impl.checks_nodes` that the method cannot keep, each with the reason.
    exempt_laws: ClassVar[dict[str, str]] = {}

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small working instance; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(**cls.SMALL)

    @classmethod
    def example(cls, seed: int = 0) -> NodeGraph:
        """Return a graph that `tiny` takes."""
        return block_graph(size=20, within=0.3, between=0.02, seed=seed)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each column of the codes."""
        return self.quantizer.codebook_sizes

    def latents(self, features: Tensor, edges: Tensor) -> Tensor:
        """Return what is quantized, (N, D), of features (N, F) and undirected edges (E, 2), each listed once."""
        raise NotImplementedError

    def reconstruct(self, latents: Tensor) -> Nodes:
        """Return the nodes that quantized latents (N, D) stand for."""
        raise NotImplementedError

    def encode(self, features: Tensor, edges: Tensor) -> Tensor:
        """Return the codes (N, M) of a graph's nodes.

        Raises:
            TypeError: features that are not floating point, or edges that are not int64.
            ValueError: wrong shapes, features that are not finite, edges of nodes that there are not.
        """
        self.check_nodes(features, edges)
        return self.quantizer.encode(self.latents(features, edges))

    def decode(self, codes: Tensor) -> Nodes:
        """Return the nodes that codes (N, M) stand for.

        Raises:
            TypeError, ValueError: as `Quantizer.decode`.
        """
        if codes.ndim != 2:
            raise ValueError(f"codes must have shape (N, M), got {tuple(codes.shape)}.")
        return self.reconstruct(self.quantizer.decode(codes))

    def forward(self, features: Tensor, edges: Tensor, labels: Tensor | None = None) -> NodesTokenized:
        """Return reconstruction, codes and losses; a supervised method also uses labels (N,), -1 for none."""
        raise NotImplementedError

    def check_nodes(self, features: Tensor, edges: Tensor) -> None:
        """Refuse what is no graph of this many features, as `encode` says."""
        if not features.is_floating_point():
            raise TypeError(f"features must be floating point, got {features.dtype}.")
        if features.ndim != 2 or features.shape[1] != self.features:
            raise ValueError(f"features must have shape (N, {self.features}), got {tuple(features.shape)}.")
        if edges.dtype != torch.int64:
            raise TypeError(f"edges must be int64, got {edges.dtype}.")
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise ValueError(f"edges must have shape (E, 2), got {tuple(edges.shape)}.")
        if not bool(torch.isfinite(features).all()):
            raise ValueError("features must be finite, got NaN or Inf.")
        if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < len(features):
            raise ValueError(f"edges must join nodes 0 to {len(features) - 1}, they go beyond.")


class OnGraph(nn.Module):
    """A node tokenizer and the one graph that it is trained on.

    Called with numbers of nodes (B,), the batch, it passes the whole graph through the tokenizer; only the labels of
    these nodes are seen. So `train(OnGraph(tokenizer, graph), graph.train, ...)` never touches another label.
    """

    def __init__(self, tokenizer: NodeTokenizer, graph: NodeGraph) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        for name in ("features", "edges", "labels"):  # given again, not learned
            self.register_buffer(name, getattr(graph, name), persistent=False)

    def forward(self, nodes: Tensor) -> NodesTokenized:
        """Return what the tokenizer makes of the graph when the labels of nodes (B,) are known."""
        labels = torch.full_like(self.labels, -1)
        labels[nodes] = self.labels[nodes]
        return self.tokenizer(self.features, self.edges, labels)
