"""RandomEQ: an entity is composed of codewords drawn at random, once, whatever its place in the graph.

Parts: the entity contract (`entities`), message passing (`impl.networks.relational`); how well codes can be told apart
is measured in `distinguishability`. What is new is that nothing of the graph goes into the codes.
"""

from typing import Self

import torch
from torch import Tensor

from impl.data.graphs import KnowledgeGraph
from impl.networks.relational import RelationalGNN
from impl.quantizers.base import positive_integer
from impl.quantizers.entities import (
    EntityCodes,
    EntityQuantizer,
    GraphEmbeddings,
    Perceptron,
    codeword_table,
    tiny_graph,
    weighted_sum,
)


class RandomEntityQuantization(EntityQuantizer):
    """Random entity quantization (li2023random): l distinct codewords of n for each entity, uniformly at random.

    The encoder is that of the method whose matching it replaces: EARL's, where the weighted sum of the codewords goes
    through a perceptron and rounds of messages (`pooling` "sum", 2 layers), or NodePiece's, where the codewords go into
    a perceptron side by side (`pooling` "concatenate", no layers).

    Args:
        graph: gives N and R, and carries messages; no code depends on its triples.
        dim: D, even.
        num_codewords: n.
        codewords_per_entity: l, at most n.
        pooling: "sum" or "concatenate".
        layers: rounds of messages.
        random_weights: draw the weights from [0, 1) too; by default all are 1.
        hidden: width of the perceptron's hidden layer; by default D, or 2 D where codewords are concatenated.
        dropout: before its output.
        seed: of the draws.

    Raises:
        ValueError: an odd width, more codewords an entity than there are, or an unknown pooling.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        dim: int,
        num_codewords: int,
        codewords_per_entity: int = 15,
        pooling: str = "sum",
        layers: int = 2,
        random_weights: bool = False,
        hidden: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._make_phases(graph, dim)
        if pooling not in ("sum", "concatenate"):
            raise ValueError(f"pooling must be 'sum' or 'concatenate', got {pooling!r}.")
        self.pooling = pooling
        generator = torch.Generator().manual_seed(seed)
        codes = random_subsets(graph.num_entities, num_codewords, codewords_per_entity, generator)
        weights = torch.rand(codes.shape, generator=generator) if random_weights else torch.ones(codes.shape)
        self._assign([(codes, weights, num_codewords)])
        self.table = codeword_table(num_codewords, dim)
        joined = pooling == "concatenate"
        width = codewords_per_entity * dim if joined else dim
        self.encoder = Perceptron(width, hidden or (2 * dim if joined else dim), dim, dropout)
        self.neighbourhood = RelationalGNN(graph, dim, dim // 2, positive_integer("layers", layers, least=0))

    @classmethod
    def tiny(cls, graph: KnowledgeGraph | None = None, dim: int = 8, seed: int = 0) -> Self:
        """Return 12 codewords, of which an entity has 4."""
        return cls(tiny_graph() if graph is None else graph, dim, 12, 4, seed=seed)

    def codewords(self) -> EntityCodes:
        """The codes as they are: there is one table."""
        return EntityCodes(self.codes, self.weights)

    def propagate(self, embeddings: Tensor) -> GraphEmbeddings:
        """Refine embeddings (N, D), and the relations' phases, by the neighbours."""
        return GraphEmbeddings(*self.neighbourhood(embeddings, self.phases))

    def _decode(self, codes: Tensor, weights: Tensor) -> Tensor:
        if self.pooling == "sum":
            return self.encoder(weighted_sum(self.table, codes, weights))
        return self.encoder((self.table[codes] * weights[..., None]).flatten(1))


def random_subsets(number: int, size: int, chosen: int, generator: torch.Generator) -> Tensor:
    """Draw subsets of `chosen` out of `size` elements, uniformly and independently: (number, chosen) int64, ascending.

    Raises:
        ValueError: more chosen than there are.
    """
    if positive_integer("codewords_per_entity", chosen) > positive_integer("num_codewords", size):
        raise ValueError(f"codewords_per_entity must be at most num_codewords = {size}, got {chosen}.")
    # Floyd's algorithm, all subsets at once: an element drawn twice is replaced by the newest one.
    drawn = torch.full((number, chosen), -1)
    for column, newest in enumerate(range(size - chosen, size)):
        candidate = torch.randint(newest + 1, (number,), generator=generator)
        taken = (drawn == candidate[:, None]).any(dim=1)
        drawn[:, column] = torch.where(taken, newest, candidate)
    return drawn.sort(dim=1).values
