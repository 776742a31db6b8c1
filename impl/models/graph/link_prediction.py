"""Link prediction: which entity completes (head, relation, ?) or (?, relation, tail), scored by RotatE.

RotatE (Sun et al., 2019) takes embeddings for complex vectors and a relation for a rotation of each of their numbers: a
triple scores the higher, the nearer the rotated head lies to the tail. It is trained against random corruptions, the
hard ones counting more, and judged by the rank of the true entity among all that are not known to be true as well.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.graphs import KnowledgeGraph
from impl.quantizers.base import positive_integer
from impl.quantizers.entities import GraphEmbeddings, even, uniform_phases

_BLOCK = 1 << 22  # numbers of a block of scores, all dimensions counted


class LinkLosses(NamedTuple):
    """What a training step returns: named scalar losses."""

    losses: dict[str, Tensor]


class EntityTable(nn.Module):
    """The natural baseline of an entity quantizer: an embedding of its own for every entity, N x D numbers.

    Args:
        graph: gives N and R.
        dim: D, even.
        scale: entities start uniform in [-scale, scale].
    """

    def __init__(self, graph: KnowledgeGraph, dim: int, scale: float = 0.5) -> None:
        super().__init__()
        self.dim = even("dim", dim)
        self.entities = nn.Parameter(nn.init.uniform_(torch.empty(graph.num_entities, dim), -scale, scale))
        self.phases = uniform_phases(graph.num_relations, dim)

    def forward(self) -> GraphEmbeddings:
        """Return the tables."""
        return GraphEmbeddings(self.entities, self.phases)


def table_dim(graph: KnowledgeGraph, parameters: int) -> int:
    """Return the largest even D with which an `EntityTable` has at most so many parameters.

    Raises:
        ValueError: not even D = 2 fits.
    """
    pair = 2 * graph.num_entities + graph.num_relations
    if parameters < pair:
        raise ValueError(f"parameters must be at least {pair}, a table of width 2, got {parameters}.")
    return 2 * (parameters // pair)


class LinkPredictor(nn.Module):
    """RotatE over the embeddings that a module makes, trained by self-adversarial negative sampling.

    Args:
        embeddings: its forward pass returns `GraphEmbeddings`: an entity quantizer, or `EntityTable`.
        graph: whose training triples are not drawn as negatives.
        num_negatives: corrupted tails a triple, and as many corrupted heads.
        margin: the distance at which a triple is as likely true as false.
        adversarial_temperature: how much more the harder negatives count; 0 for all alike.
    """

    known: Tensor

    def __init__(
        self,
        embeddings: nn.Module,
        graph: KnowledgeGraph,
        num_negatives: int = 32,
        margin: float = 9.0,
        adversarial_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.embeddings, self.margin = embeddings, margin
        self.num_negatives = positive_integer("num_negatives", num_negatives)
        self.num_entities, self.num_relations = graph.num_entities, graph.num_relations
        self.adversarial_temperature = adversarial_temperature
        self.register_buffer("known", self._keys(*graph.train.unbind(1)).unique(), persistent=False)

    def forward(self, triples: Tensor) -> LinkLosses:
        """Return the loss of training triples (B, 3) against corruptions drawn from the global generator."""
        entities, relations = self.embeddings()
        heads, names, tails = triples.unbind(1)
        phases = relations[names]
        shape = (len(triples), self.num_negatives)
        terms = []
        for given, sought, sign in ((heads, tails, 1), (tails, heads, -1)):
            others = torch.randint(self.num_entities, shape, device=triples.device)
            corrupted = (given[:, None], others) if sign > 0 else (others, given[:, None])
            true = self._is_known(corrupted[0], names[:, None], corrupted[1])
            queries = rotate(entities[given], sign * phases)[:, None]
            positive = self.margin - distances(queries, entities[sought][:, None]).squeeze(1)
            negative = self.margin - distances(queries, entities[others])
            hardness = (self.adversarial_temperature * negative.detach()).masked_fill(true, -torch.inf)
            shares = torch.nan_to_num(hardness.softmax(dim=1))  # all of them true: no negative is left
            terms += [-F.logsigmoid(positive).mean(), -(shares * F.logsigmoid(-negative)).sum(dim=1).mean()]
        return LinkLosses({"link": torch.stack(terms).mean()})

    def score(self, triples: Tensor) -> Tensor:
        """Return the scores (B,) of triples (B, 3): the margin less the distance."""
        entities, relations = self.embeddings()
        heads, names, tails = triples.unbind(1)
        return self.margin - distances(rotate(entities[heads], relations[names]), entities[tails])

    def _keys(self, heads: Tensor, names: Tensor, tails: Tensor) -> Tensor:
        return (heads * self.num_relations + names) * self.num_entities + tails

    def _is_known(self, heads: Tensor, names: Tensor, tails: Tensor) -> Tensor:
        keys = self._keys(heads, names, tails)
        places = torch.searchsorted(self.known, keys).clamp(max=len(self.known) - 1)
        return self.known[places] == keys


def rotate(vectors: Tensor, phases: Tensor) -> Tensor:
    """Turn each complex number of vectors (..., D), real parts first, by phases (..., D / 2) in radians."""
    real, imaginary = vectors.chunk(2, dim=-1)
    cosine, sine = phases.cos(), phases.sin()
    return torch.cat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1)


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Sum the moduli of the complex differences of vectors (..., D): the distance of RotatE, (...)."""
    real, imaginary = (first - second).float().chunk(2, dim=-1)
    # The summand keeps the gradient finite where two embeddings are equal.
    return (real.square() + imaginary.square() + 1e-12).sqrt().sum(dim=-1)


@torch.no_grad()
def filtered_ranks(predictor: LinkPredictor, graph: KnowledgeGraph, triples: Tensor) -> Tensor:
    """Return the ranks of the true tails and then of the true heads of triples (U, 3), among all entities: (2U,).

    Entities that complete another triple of `graph`, of whatever split, are left out of the ranking. Entities of equal
    score share the mean of their places, so that a model which tells nothing apart gains nothing. Scores are computed
    in blocks of queries.
    """
    entities, relations = predictor.embeddings()
    known, (heads, names, tails) = graph.triples.to(entities.device), triples.unbind(1)
    ranks = []
    for given, sought, sign, columns in ((heads, tails, 1, (0, 2)), (tails, heads, -1, (2, 0))):
        keys, order = (known[:, 1] * graph.num_entities + known[:, columns[0]]).sort(stable=True)
        answers = known[order, columns[1]]
        queries = rotate(entities[given], sign * relations[names])
        wanted = names * graph.num_entities + given
        step = max(1, _BLOCK // entities.numel())
        for start in range(0, len(triples), step):
            block = slice(start, start + step)
            distance = _to_all(queries[block], entities)
            true = distance.gather(1, sought[block, None])
            first, last = (torch.searchsorted(keys, wanted[block], right=right) for right in (False, True))
            rows = torch.arange(len(distance), device=keys.device).repeat_interleave(last - first)
            offsets = (
                torch.arange(len(rows), device=keys.device) - (last - first).cumsum(0).sub(last - first)[rows]
            )
            distance[rows, answers[first[rows] + offsets]] = torch.inf
            distance.scatter_(1, sought[block, None], torch.inf)
            nearer, level = (distance < true).sum(dim=1), (distance == true).sum(dim=1)
            ranks.append(1 + nearer + level / 2)
    return torch.cat(ranks)


def rank_metrics(ranks: Tensor, hits: tuple[int, ...] = (1, 3, 10)) -> dict[str, float]:
    """Return the mean reciprocal rank, "mrr", and the share of ranks of at most k, "hits@k".

    Raises:
        ValueError: no ranks.
    """
    if not len(ranks):
        raise ValueError("ranks must hold at least one, got none.")
    scores = {f"hits@{k}": float((ranks <= k).double().mean()) for k in hits}
    return {"mrr": float(ranks.double().reciprocal().mean()), **scores}


def _to_all(queries: Tensor, entities: Tensor) -> Tensor:
    """Distances (Q, N) of queries to all entities, in blocks of entities where one query alone is too much."""
    step = max(1, _BLOCK // queries.numel())
    return torch.cat([distances(queries[:, None], block[None]) for block in entities.split(step)], dim=1)
