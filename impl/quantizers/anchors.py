"""What the training edges of a knowledge graph say about its entities: anchors, hops to them, roles in relations.

Edges are those of `KnowledgeGraph.edges`, inverses included, so everything here takes the graph as undirected, and the
role of an entity in an edge (head or tail of which relation) is the relation of the edge that leaves it.
"""

import torch
from torch import Tensor

from impl.data.graphs import KnowledgeGraph
from impl.quantizers.base import positive_integer

_BLOCK = 256  # anchors, or rows, that are looked at together


def degrees(graph: KnowledgeGraph) -> Tensor:
    """Return how many edges leave each entity: (N,) int64, its triples as head and as tail."""
    return torch.bincount(graph.edges[:, 0], minlength=graph.num_entities)


def page_rank(graph: KnowledgeGraph, damping: float = 0.85, iterations: int = 100) -> Tensor:
    """Return the PageRank (N,) float64 of the entities by power iteration; parallel edges all count."""
    count, (source, _, target) = graph.num_entities, graph.edges.unbind(1)
    degree = degrees(graph).double()
    rank = torch.full((count,), 1 / count, dtype=torch.float64)
    for _ in range(iterations):
        share = torch.where(degree > 0, rank / degree.clamp(min=1), 0.0)
        stranded = rank[degree == 0].sum() / count
        received = torch.zeros_like(rank).index_add_(0, target, share[source])
        rank = (1 - damping) / count + damping * (stranded + received)
    return rank


def choose_anchors(
    graph: KnowledgeGraph, num_anchors: int, shares: tuple[float, float] = (0.4, 0.4), seed: int = 0
) -> Tensor:
    """Choose anchors as NodePiece does: a share by degree, a share by PageRank, the others at random.

    Each of the first two takes the highest that are not chosen yet; the lower number wins a tie.

    Args:
        graph: whose training edges count.
        num_anchors: A, at most N.
        shares: by degree and by PageRank.
        seed: of the random rest.

    Returns:
        (A,) int64, distinct, in the order of choice.

    Raises:
        ValueError: more anchors than entities, or shares that are negative or above 1 in sum.
    """
    if positive_integer("num_anchors", num_anchors) > graph.num_entities:
        raise ValueError(f"num_anchors must be at most the {graph.num_entities} entities, got {num_anchors}.")
    if min(shares) < 0 or sum(shares) > 1:
        raise ValueError(f"shares must not be negative and at most 1 in sum, got {shares}.")
    generator = torch.Generator().manual_seed(seed)
    orders = [
        degrees(graph).sort(descending=True, stable=True).indices,
        page_rank(graph).sort(descending=True, stable=True).indices,
        torch.randperm(graph.num_entities, generator=generator),
    ]
    numbers = [round(share * num_anchors) for share in shares]
    chosen = torch.zeros(0, dtype=torch.int64)
    for order, number in zip(orders, [*numbers, num_anchors], strict=True):
        fresh = order[~torch.isin(order, chosen)]
        chosen = torch.cat([chosen, fresh[: min(number, num_anchors - len(chosen))]])
    return chosen


def nearest_anchors(graph: KnowledgeGraph, anchors: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Find the anchors nearest to each entity by breadth-first search, the earlier in `anchors` first among equals.

    Distances are searched from a block of anchors at a time, so no N x A matrix is made.

    Args:
        graph: whose training edges are walked, in both directions.
        anchors: (A,) entities.
        neighbours: k, at most A.

    Returns:
        places (N, k) in `anchors`, and hops (N, k), nearest first; -1 both where fewer than k anchors can be reached.

    Raises:
        ValueError: more neighbours than anchors.
    """
    if positive_integer("neighbours", neighbours) > len(anchors):
        raise ValueError(f"neighbours must be at most the {len(anchors)} anchors, got {neighbours}.")
    beyond = graph.num_entities  # hops of what cannot be reached: more than any path has
    best = torch.full((graph.num_entities, neighbours), beyond * len(anchors))
    for start in range(0, len(anchors), _BLOCK):
        hops = _hops(graph, anchors[start : start + _BLOCK], beyond)
        keys = hops * len(anchors) + torch.arange(start, start + hops.shape[1])
        best = torch.cat([best, keys], dim=1).sort(dim=1).values[:, :neighbours]
    hops, places = best // len(anchors), best % len(anchors)
    reached = hops < beyond
    return places.where(reached, -1), hops.where(reached, -1)


def _hops(graph: KnowledgeGraph, anchors: Tensor, beyond: int) -> Tensor:
    """Hops (N, A) from anchors (A,), `beyond` where there is no path."""
    source, _, target = graph.edges.unbind(1)
    shape = (graph.num_entities, graph.num_entities)
    indices = torch.stack([target, source])
    adjacency = torch.sparse_coo_tensor(
        indices, torch.ones(len(source)), shape, check_invariants=True
    ).coalesce()
    hops = torch.full((graph.num_entities, len(anchors)), beyond)
    frontier = torch.zeros(hops.shape)
    frontier[anchors, torch.arange(len(anchors))] = 1
    step = 0
    while bool(frontier.any()):
        hops[frontier > 0] = step
        step += 1
        frontier = ((adjacency @ frontier > 0) & (hops == beyond)).float()
    return hops


def role_counts(graph: KnowledgeGraph) -> tuple[Tensor, Tensor, Tensor]:
    """Count in which roles each entity occurs: as head of relation r (role r), as tail of it (role R + r).

    Returns:
        entities (P,), roles (P,) in [0, 2R) and counts (P,) of the pairs that occur, sorted by entity, then role.
    """
    roles = 2 * graph.num_relations
    keys, counts = (graph.edges[:, 0] * roles + graph.edges[:, 1]).unique(return_counts=True)
    return keys // roles, keys % roles, counts


def padded_rows(entities: Tensor, values: Tensor, num_entities: int, width: int) -> tuple[Tensor, Tensor]:
    """Lay out values (P,) of sorted entities (P,) as rows (N, width), the first `width` of each entity; 0 elsewhere.

    Returns:
        the rows, and (N, width) bool: which places hold a value.
    """
    lengths = torch.bincount(entities, minlength=num_entities)
    column = torch.arange(len(entities)) - (lengths.cumsum(0) - lengths)[entities]
    fits = column < width
    rows, used = values.new_zeros(num_entities, width), torch.zeros(num_entities, width, dtype=torch.bool)
    rows[entities[fits], column[fits]] = values[fits]
    used[entities[fits], column[fits]] = True
    return rows, used
