"""The contract of an entity quantizer: the entities of a graph to codes, and codes to embeddings.

A quantizer of latents (`base`) finds codes for vectors that an encoder made. Here there is no vector to begin with: an
entity of a knowledge graph is only a name. Its codes say which codewords of a small shared vocabulary it is composed
of, they are read off the graph (or drawn) once, and the embedding is computed from them. What every entity quantizer
must keep is in `impl.checks_entities`.
"""

import math
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from impl.data.graphs import KnowledgeGraph, torus_graph
from impl.quantizers.base import full_precision, positive_integer


class EntityCodes(NamedTuple):
    """What an entity is composed of.

    Attributes:
        codes: (..., M) int64, column m in [0, K_m).
        weights: (..., M) float32, how much each codeword counts; 0 where the column is not used.
    """

    codes: Tensor
    weights: Tensor


class GraphEmbeddings(NamedTuple):
    """Embeddings of a whole graph, as RotatE scores them.

    Attributes:
        entities: (N, D), the real parts of D / 2 complex numbers followed by their imaginary parts.
        relations: (R, D / 2) phases in radians.
    """

    entities: Tensor
    relations: Tensor


class EntityQuantizer(nn.Module):
    """Maps the entities of one knowledge graph to codes and codes to embeddings of width D.

    A subclass calls `_make_phases`, hands its codes to `_assign` and writes `codewords` and `_decode`, which sees legal
    codes and weights (N, M). One whose embeddings also depend on the neighbours of an entity overrides `propagate`. The
    number of parameters must not grow with the number of entities.
    """

    dim: int
    num_relations: int
    codebook_sizes: tuple[int, ...]
    codes: Tensor
    weights: Tensor
    #: Laws of `impl.checks_entities` that the method cannot keep, each with the reason.
    exempt_laws: ClassVar[dict[str, str]] = {}

    @classmethod
    def tiny(cls, graph: KnowledgeGraph | None = None, dim: int = 8, seed: int = 0) -> Self:
        """Return a small working instance of width `dim` on a graph, by default a torus of 30 points."""
        raise NotImplementedError(f"{cls.__name__} has no tiny() configuration.")

    @property
    def num_entities(self) -> int:
        """N."""
        return len(self.codes)

    @property
    def bits(self) -> float:
        """Bits that the codes of one entity cost: the sum of log2 K over the columns. Weights are not counted."""
        return sum(math.log2(size) for size in self.codebook_sizes)

    def encode(self, entities: Tensor) -> EntityCodes:
        """Return codes and weights (..., M) of entities (...), given by their numbers.

        Raises:
            TypeError: the entities are not integers.
            ValueError: a number outside [0, N).
        """
        _check_integers("entities", entities)
        if not torch.compiler.is_compiling() and entities.numel():
            low, high = int(entities.min()), int(entities.max())
            if low < 0 or high >= self.num_entities:
                raise ValueError(
                    f"entities must be from 0 to {self.num_entities - 1}, got {low if low < 0 else high}."
                )
        entities = entities.long()
        return EntityCodes(self.codes[entities], self.weights[entities])

    def decode(self, codes: EntityCodes) -> Tensor:
        """Return the embeddings (..., D) that codes and weights (..., M) stand for.

        Raises:
            TypeError: codes that are not integers, or weights that are not floating point.
            ValueError: codes outside [0, K_m), weights that are not finite, or shapes that are not (..., M) both.
        """
        found, weights = self._checked(*codes)
        shape = found.shape[:-1]
        rows, columns = math.prod(shape), found.shape[-1]
        embeddings = self._decode(found.reshape(rows, columns).long(), weights.reshape(rows, columns))
        return embeddings.reshape(*shape, self.dim)

    def forward(self) -> GraphEmbeddings:
        """Return the embeddings of all entities and relations of the graph."""
        return self.propagate(self.decode(EntityCodes(self.codes, self.weights)))

    def codewords(self) -> EntityCodes:
        """Return which codewords each entity is composed of, (N, m), as numbers of one vocabulary of all tables."""
        raise NotImplementedError

    def propagate(self, embeddings: Tensor) -> GraphEmbeddings:
        """Make graph embeddings of what was decoded, (N, D); here entities stay as they are."""
        return GraphEmbeddings(embeddings, self.phases)

    def _decode(self, codes: Tensor, weights: Tensor) -> Tensor:
        raise NotImplementedError

    def _assign(self, parts: list[tuple[Tensor, Tensor, int]]) -> None:
        """Keep the codes: for each part its codes (N, m), weights (N, m) and codebook size, side by side."""
        self.codebook_sizes = tuple(size for codes, _, size in parts for _ in range(codes.shape[1]))
        self.register_buffer("codes", torch.cat([codes for codes, _, _ in parts], dim=1))
        self.register_buffer("weights", torch.cat([weights.float() for _, weights, _ in parts], dim=1))

    def _make_phases(self, graph: KnowledgeGraph, dim: int) -> None:
        """Set the widths, and give each relation its own phases, uniform over the circle."""
        self.dim, self.num_relations = even("dim", dim), graph.num_relations
        self.phases = uniform_phases(graph.num_relations, dim)

    def _checked(self, codes: Tensor, weights: Tensor) -> EntityCodes:
        _check_integers("codes", codes)
        if not weights.is_floating_point():
            raise TypeError(f"weights must be floating point, got {weights.dtype}.")
        columns = len(self.codebook_sizes)
        if codes.ndim == 0 or codes.shape[-1] != columns or codes.shape != weights.shape:
            shapes = f"{tuple(codes.shape)} and {tuple(weights.shape)}"
            raise ValueError(
                f"codes and weights must both have {columns} columns on the last axis, got {shapes}."
            )
        if not torch.compiler.is_compiling() and codes.numel():
            sizes = torch.tensor(self.codebook_sizes, device=codes.device)
            wrong = ((codes < 0) | (codes >= sizes)).nonzero()
            if len(wrong):
                place = tuple(wrong[0].tolist())
                legal = f"0 <= code < {self.codebook_sizes[place[-1]]}"
                raise ValueError(f"codes of column {place[-1]} must keep {legal}, got {int(codes[place])}.")
            if not bool(torch.isfinite(weights).all()):
                raise ValueError("weights must be finite, got NaN or Inf.")
        return EntityCodes(codes, weights)


class Perceptron(nn.Sequential):
    """Two linear layers with a ReLU between, and dropout where it is asked for: what entity encoders share."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
        )


def codeword_table(codebook_size: int, dim: int) -> nn.Parameter:
    """Return a table (K, D) of codewords, initially uniform with Xavier's variance for ReLU."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(codebook_size, dim), math.sqrt(2)))


def uniform_phases(num_relations: int, dim: int) -> nn.Parameter:
    """Return phases (R, D / 2) of relations, uniform over the circle."""
    return nn.Parameter(nn.init.uniform_(torch.empty(num_relations, dim // 2), -math.pi, math.pi))


def weighted_sum(table: Tensor, codes: Tensor, weights: Tensor) -> Tensor:
    """Return the sums (N, D) of codewords (K, D) chosen by codes (N, m), times weights (N, m)."""
    with full_precision(table):
        return (table[codes] * weights.to(table.dtype)[..., None]).sum(dim=1)


def even(name: str, value: int) -> int:
    """Return `value` if it is an even positive integer, or raise an error that names the argument."""
    if positive_integer(name, value) % 2:
        raise ValueError(f"{name} must be even (complex numbers are pairs), got {value}.")
    return value


def tiny_graph() -> KnowledgeGraph:
    """Return the graph of `tiny()`: a torus of 30 points."""
    return torus_graph((6, 5))


def _check_integers(name: str, given: Tensor) -> None:
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {given.dtype}.")
