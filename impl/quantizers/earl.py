"""EARL: a few reserved entities keep embeddings of their own, the others are composed of these and of relations.

Parts: roles of a graph (`anchors`), the entity contract (`entities`), message passing (`impl.networks.relational`).
What is new is the match by similarity of roles.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.data.graphs import KnowledgeGraph
from impl.networks.relational import RelationalGNN
from impl.quantizers.anchors import padded_rows, role_counts
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

_BLOCK = 1024  # entities whose similarities are computed together


class EARL(EntityQuantizer):
    """EARL (chen2023entityagnostic): weighted reserved entities and roles, joined and refined by neighbours.

    The first column is for a reserved entity itself: it has weight 1 there and no other codeword. Any other entity
    uses the next k columns, the reserved entities that occur in the most similar roles (cosine of the counts), weighted
    by a softmax of the similarities, and the last columns, its own roles, weighted by their share of its edges. The
    weighted sums go through perceptrons; two rounds of messages over the training triples follow, which refine the
    relations too.

    Args:
        graph: its training triples give roles and carry messages.
        dim: D, even.
        num_reserved: entities with embeddings of their own, drawn at random; the paper takes a tenth of them.
        num_neighbours: k.
        temperature: of the softmax.
        layers: rounds of messages.
        seed: of the draw.

    Raises:
        ValueError: an odd width, more reserved entities than entities, more neighbours than reserved ones, or a
            temperature that is not positive.
    """

    def __init__(
        self,
        graph: KnowledgeGraph,
        dim: int,
        num_reserved: int,
        num_neighbours: int = 10,
        temperature: float = 0.2,
        layers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._make_phases(graph, dim)
        if positive_integer("num_reserved", num_reserved) > graph.num_entities:
            raise ValueError(
                f"num_reserved must be at most the {graph.num_entities} entities, got {num_reserved}."
            )
        if positive_integer("num_neighbours", num_neighbours) > num_reserved:
            raise ValueError(
                f"num_neighbours must be at most the {num_reserved} reserved entities, got {num_neighbours}."
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.num_neighbours = num_neighbours
        order = torch.randperm(graph.num_entities, generator=torch.Generator().manual_seed(seed))
        reserved = order[:num_reserved].sort().values
        own, itself = (
            torch.zeros(graph.num_entities, 1, dtype=torch.int64),
            torch.zeros(graph.num_entities, 1),
        )
        own[reserved, 0], itself[reserved] = torch.arange(num_reserved), 1.0
        places, similarities = most_similar(graph, reserved, num_neighbours)
        roles, shares = _role_shares(graph)
        composed = 1 - itself
        nearest = (similarities / temperature).softmax(dim=1) * composed
        self._assign(
            [
                (own, itself, num_reserved),
                (places, nearest, num_reserved),
                (roles, shares * composed, 2 * graph.num_relations),
            ]
        )
        self.reserved = codeword_table(num_reserved, dim)
        self.roles = codeword_table(2 * graph.num_relations, dim)
        self.role_encoder = Perceptron(dim, dim, dim)
        self.join = Perceptron(2 * dim, dim, dim)
        self.neighbourhood = RelationalGNN(graph, dim, dim // 2, positive_integer("layers", layers, least=0))

    @classmethod
    def tiny(cls, graph: KnowledgeGraph | None = None, dim: int = 8, seed: int = 0) -> Self:
        """Return 6 reserved entities, of which another has 3."""
        return cls(tiny_graph() if graph is None else graph, dim, 6, 3, seed=seed)

    def codewords(self) -> EntityCodes:
        """Number reserved entities from 0 and roles after them."""
        codes = self.codes.clone()
        codes[:, 1 + self.num_neighbours :] += len(self.reserved)
        return EntityCodes(codes, self.weights)

    def propagate(self, embeddings: Tensor) -> GraphEmbeddings:
        """Refine embeddings (N, D), and the relations' phases, by the neighbours."""
        return GraphEmbeddings(*self.neighbourhood(embeddings, self.phases))

    def _decode(self, codes: Tensor, weights: Tensor) -> Tensor:
        near = slice(1, 1 + self.num_neighbours)
        related = weighted_sum(self.reserved, codes[:, near], weights[:, near])
        roles = weighted_sum(self.roles, codes[:, near.stop :], weights[:, near.stop :])
        composed = self.join(torch.cat([related, self.role_encoder(roles)], dim=1))
        return torch.where(weights[:, :1] > 0, self.reserved[codes[:, 0]], composed.float())


def most_similar(graph: KnowledgeGraph, reserved: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Find the reserved entities whose counts of roles are the most similar to each entity's, by cosine.

    Similarities are computed for a block of entities at a time. An entity without edges is similar to none: 0.

    Returns:
        places (N, k) in `reserved` and similarities (N, k), the most similar first; the earlier wins a tie.
    """
    entities, roles, counts = role_counts(graph)
    starts = torch.searchsorted(entities, torch.arange(graph.num_entities + 1))

    def directions(first: int, last: int) -> Tensor:
        pairs = slice(int(starts[first]), int(starts[last]))
        table = torch.zeros(last - first, 2 * graph.num_relations)
        table[entities[pairs] - first, roles[pairs]] = counts[pairs].float()
        return F.normalize(table, dim=1)

    targets = torch.cat([directions(entity, entity + 1) for entity in reserved.tolist()])
    found = []
    for first in range(0, graph.num_entities, _BLOCK):
        similarity = directions(first, min(first + _BLOCK, graph.num_entities)) @ targets.T
        found.append([part[:, :neighbours] for part in similarity.sort(dim=1, descending=True, stable=True)])
    similarities, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    return places, similarities


def _role_shares(graph: KnowledgeGraph) -> tuple[Tensor, Tensor]:
    """Roles of each entity in ascending order (N, P), and their shares of its edges (N, P), 0 where unused."""
    entities, roles, counts = role_counts(graph)
    width = int(torch.bincount(entities, minlength=1).max())
    rows, _ = padded_rows(entities, roles, graph.num_entities, width)
    numbers, _ = padded_rows(entities, counts, graph.num_entities, width)
    return rows, numbers / numbers.sum(dim=1, keepdim=True).clamp(min=1)
