"""NodePiece: an entity is named by the anchors nearest to it, the hops to them, and relations that it takes part in.

Parts: anchors, hops and roles of a graph (`anchors`), the entity contract (`entities`). What is new is the vocabulary,
anchors and relations for all entities, and the encoder of such names.
"""

from typing import Self

import torch
from torch import Tensor

from impl.data.graphs import KnowledgeGraph
from impl.quantizers.anchors import choose_anchors, nearest_anchors, padded_rows, role_counts
from impl.quantizers.base import positive_integer
from impl.quantizers.entities import EntityCodes, EntityQuantizer, Perceptron, codeword_table, tiny_graph

Part = tuple[Tensor, Tensor, int]


class NodePiece(EntityQuantizer):
    """NodePiece (galkin2022nodepiece): codes of k anchors, k distances and m roles, concatenated into a perceptron.

    The first k columns are the anchors nearest by hops, the next k the hops, the last m a random choice of the distinct
    roles that the entity has (head or tail of which relation). An anchor's codeword and that of its hops are added.
    Columns that an entity cannot fill have weight 0 and enter the perceptron as zeros.

    Args:
        graph: its training triples give anchors, hops and roles.
        dim: D, even.
        num_anchors: A, at least 1.
        num_neighbours: k; 0 to name entities by relations alone.
        num_roles: m; 0 for anchors alone.
        shares: of the anchors chosen by degree and by PageRank; the others are chosen at random.
        hidden: width of the perceptron's hidden layer; 2 D by default.
        dropout: before its output.
        seed: of the random anchors and of the choice of roles.

    Raises:
        ValueError: an odd width, more neighbours than anchors, more anchors than entities, or no column at all.
    """

    anchor_entities: Tensor

    def __init__(
        self,
        graph: KnowledgeGraph,
        dim: int,
        num_anchors: int,
        num_neighbours: int = 20,
        num_roles: int = 4,
        shares: tuple[float, float] = (0.4, 0.4),
        hidden: int | None = None,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._make_phases(graph, dim)
        self.num_neighbours = positive_integer("num_neighbours", num_neighbours, least=0)
        self.num_roles = positive_integer("num_roles", num_roles, least=0)
        if not num_neighbours and not num_roles:
            raise ValueError("num_neighbours and num_roles must not both be 0.")
        self.entity_names, self.relation_names, self.seed = graph.entities, graph.relations, seed
        self.register_buffer("anchor_entities", choose_anchors(graph, num_anchors, shares, seed))
        parts = self._read(graph, max_hops=None)
        self._assign(parts)
        self.anchors = codeword_table(num_anchors, dim)
        self.hops = codeword_table(parts[1][2], dim)
        self.roles = codeword_table(2 * graph.num_relations, dim)
        self.encoder = Perceptron((num_neighbours + num_roles) * dim, hidden or 2 * dim, dim, dropout)

    @classmethod
    def tiny(cls, graph: KnowledgeGraph | None = None, dim: int = 8, seed: int = 0) -> Self:
        """Return 6 anchors, of which an entity has 3, and 2 roles."""
        return cls(tiny_graph() if graph is None else graph, dim, 6, 3, 2, seed=seed)

    def tokenize(self, graph: KnowledgeGraph) -> EntityCodes:
        """Return codes and weights (N', M) of the entities of another graph, new entities among them.

        Anchors keep their names and relations their numbers; hops beyond the largest that was seen count as that.

        Raises:
            ValueError: an anchor is missing, or the relations are others.
        """
        if graph.relations != self.relation_names:
            raise ValueError(
                "graph must have the relations that the quantizer was made with, in their order."
            )
        parts = self._read(graph, max_hops=len(self.hops) - 1)
        return EntityCodes(
            torch.cat([p[0] for p in parts], dim=1), torch.cat([p[1].float() for p in parts], dim=1)
        )

    def codewords(self) -> EntityCodes:
        """Number anchors from 0 and roles after them; hops are left out, as they say nothing without their anchor."""
        near, last = self.num_neighbours, self.codes.shape[1] - self.num_roles
        codes = torch.cat([self.codes[:, :near], self.codes[:, last:] + len(self.anchors)], dim=1)
        return EntityCodes(codes, torch.cat([self.weights[:, :near], self.weights[:, last:]], dim=1))

    def _read(self, graph: KnowledgeGraph, max_hops: int | None) -> list[Part]:
        """Codes, weights and codebook sizes of anchors, hops and roles."""
        number = {name: place for place, name in enumerate(graph.entities)}
        names = [self.entity_names[entity] for entity in self.anchor_entities.tolist()]
        if missing := [name for name in names if name not in number]:
            raise ValueError(f"graph must hold every anchor, {missing[0]!r} is missing.")
        anchors = torch.tensor([number[name] for name in names])
        if self.num_neighbours:
            places, hops = nearest_anchors(graph, anchors, self.num_neighbours)
        else:
            places = hops = torch.zeros(graph.num_entities, 0, dtype=torch.int64)
        used = places >= 0
        farthest = max_hops if max_hops is not None else max(hops.max().item(), 0) if hops.numel() else 0
        roles, held = self._roles(graph)
        return [
            (places.clamp(min=0), used, len(anchors)),
            (hops.clamp(min=0, max=farthest), used, farthest + 1),
            (roles, held, 2 * graph.num_relations),
        ]

    def _roles(self, graph: KnowledgeGraph) -> tuple[Tensor, Tensor]:
        """Choose m of each entity's distinct roles at random, in ascending order: (N, m), and which places are used."""
        entities, roles, _ = role_counts(graph)
        shuffled = torch.randperm(len(entities), generator=torch.Generator().manual_seed(self.seed))
        order = shuffled[entities[shuffled].sort(stable=True).indices]
        rows, used = padded_rows(entities[order], roles[order], graph.num_entities, self.num_roles)
        rows = rows.masked_fill(~used, 2 * graph.num_relations).sort(dim=1).values
        return rows.masked_fill(
            ~used, 0
        ), used  # the unused places are the last ones before and after sorting

    def _decode(self, codes: Tensor, weights: Tensor) -> Tensor:
        pieces = [self.num_neighbours, self.num_neighbours, self.num_roles]
        places, hops, roles = codes.split(pieces, dim=1)
        codewords = torch.cat([self.anchors[places] + self.hops[hops], self.roles[roles]], dim=1)
        kept = torch.cat([weights[:, : self.num_neighbours], weights[:, 2 * self.num_neighbours :]], dim=1)
        return self.encoder((codewords * kept[..., None]).flatten(1))
