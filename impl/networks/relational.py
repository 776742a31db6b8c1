"""Message passing on a knowledge graph: entities hear from their neighbours through the relations between them."""

import torch
from torch import Tensor, nn

from impl.data.graphs import KnowledgeGraph


class RelationalLayer(nn.Module):
    """One round of messages; incoming edges, outgoing edges and the entity itself have linear maps of their own.

    An entity receives, along every edge that ends at it, the sum of the mapped neighbour and the mapped relation. It
    adds the mean of these to its own map. Relations are mapped alone.

    Args:
        dim: width of entities.
        relation_dim: width of relations.
        last: whether to leave out the ReLU, as the last layer does.
    """

    def __init__(self, dim: int, relation_dim: int, last: bool = False) -> None:
        super().__init__()
        self.incoming, self.outgoing, self.itself = (nn.Linear(dim, dim) for _ in range(3))
        self.incoming_relation, self.outgoing_relation = (nn.Linear(relation_dim, dim) for _ in range(2))
        self.relation = nn.Linear(relation_dim, relation_dim)
        self.activation = nn.Identity() if last else nn.ReLU()

    def forward(self, entities: Tensor, relations: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return entities (N, D) and relations (R, D') after a round along `KnowledgeGraph.edges` (2T, 3)."""
        triples, inverses = edges.chunk(2)
        total, counts = torch.zeros_like(entities), entities.new_zeros(len(entities))
        maps = (
            (triples, self.incoming, self.incoming_relation),
            (inverses, self.outgoing, self.outgoing_relation),
        )
        for part, of_entity, of_relation in maps:
            source, role, target = part.unbind(1)
            message = of_entity(entities)[source] + of_relation(relations)[role % len(relations)]
            total = total.index_add(0, target, message.to(total.dtype))
            counts = counts.index_add(0, target, counts.new_ones(len(part)))
        mean = total / counts.clamp(min=1)[:, None]
        return self.activation(self.itself(entities) + mean), self.activation(self.relation(relations))


class RelationalGNN(nn.Module):
    """Rounds of messages over the training edges of a graph.

    Args:
        graph: whose edges carry the messages.
        dim: width of entities.
        relation_dim: width of relations.
        layers: how many rounds.
    """

    edges: Tensor

    def __init__(self, graph: KnowledgeGraph, dim: int, relation_dim: int, layers: int = 2) -> None:
        super().__init__()
        self.register_buffer("edges", graph.edges, persistent=False)  # the graph is given again, not learned
        self.layers = nn.ModuleList(
            RelationalLayer(dim, relation_dim, last=number == layers - 1) for number in range(layers)
        )

    def forward(self, entities: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
        """Return entities (N, D) and relations (R, D') after all rounds."""
        for layer in self.layers:
            entities, relations = layer(entities, relations, self.edges)
        return entities, relations
