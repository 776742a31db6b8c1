"""HiHPQ: product quantization in a product of hyperbolic spaces, learned without labels from a hierarchy of clusters.

Parts: a product of tables (`product`), Lorentz geometry (`lorentz`), prototypes of a hierarchy (`prototypes`), gradient
fit (`adam`); what is new is the soft quantizer whose mean is a Lorentz centroid, and the contrasts it is learned from.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers import lorentz
from impl.quantizers.adam import adam
from impl.quantizers.base import Quantized, positive_integer
from impl.quantizers.product import ProductCodebooks, take_codewords
from impl.quantizers.prototypes import Prototypes, ward_prototypes

Augment = Callable[[Tensor, torch.Generator], Tensor]


def jitter(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Return a view of vectors (N, D): a tenth of the entries of each swapped with another vector's, and noise of a
    tenth of each dimension's deviation.
    """
    others = vectors[torch.randperm(len(vectors), generator=generator).to(vectors.device)]
    swapped = (torch.rand(vectors.shape, generator=generator) < 0.1).to(vectors.device)
    noise = torch.randn(vectors.shape, generator=generator).to(vectors)
    return torch.where(swapped, others, vectors) + 0.1 * vectors.std(dim=0) * noise


class HyperbolicProductQuantizer(ProductCodebooks):
    """Hierarchical hyperbolic product quantization, HiHPQ (qiu2024hihpq).

    A network embeds the vector. Each of the M parts of the embedding is a tangent vector, cut to length `radius`, of a
    hyperbolic space with a curvature -c_m of its own that is learned; so are the codewords. A part is quantized softly:
    weights softmax(-temperature d_L^2) over the codewords, with their squared Lorentz distances d_L^2, and the Lorentz
    centroid under these weights. The code is the nearest codeword. Distances of items add up over the parts, each the
    length of a geodesic.

    `fit` needs no labels. Soft quantized items are contrasted three ways by these distances: the two views of an item
    against all other items; another item of the same cluster against the other items; and the prototype of the item's
    own cluster against the others, at each level of a Ward hierarchy, which is built anew from the tangent vectors
    every `recluster` steps once half of the steps are done.

    Inside an autoencoder latents and codewords are tangent vectors; gradients pass through the soft centroid.

    Args:
        dim: D.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        hidden: width of the network.
        curvature: c at the start.
        radius: longest tangent vector.
        temperature: of the soft quantization; large is hard.
        contrast_temperature: of the contrasts.
        levels: numbers of clusters of the hierarchy; none for no hierarchy.
        neighbour_weight: of the contrast among items of a cluster.
        prototype_weight: of the contrast among prototypes.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, M does not divide D, a curvature not above 0.
    """

    exempt_laws: ClassVar[dict[str, str]] = {
        "fit_reduces_the_error": "codes tell items apart in a learned space instead of approximating the input"
    }

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        hidden: int = 128,
        curvature: float = 1.0,
        radius: float = 1.5,
        temperature: float = 5.0,
        contrast_temperature: float = 0.2,
        levels: Sequence[int] = (100, 50, 25),
        neighbour_weight: float = 0.1,
        prototype_weight: float = 1.0,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        positive_integer("hidden", hidden)
        if not curvature > 0:
            raise ValueError(f"curvature must be positive (of the space it is minus that), got {curvature}.")
        self.radius, self.temperature = radius, temperature
        self.contrast_temperature, self.levels = contrast_temperature, tuple(levels)
        self.neighbour_weight, self.prototype_weight = neighbour_weight, prototype_weight
        self.network = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.log_curvature = nn.Parameter(torch.full((num_codebooks,), curvature).log())
        with torch.no_grad():
            self.codebooks.copy_(F.normalize(self.codebooks, dim=2))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords."""
        return cls(dim, 8, 2, hidden=16, levels=(8, 4))

    @property
    def curvature(self) -> Tensor:
        """c of each part, (M, 1, 1), within [0.0001, 10]."""
        return self.log_curvature.exp().clamp(1e-4, 10)[:, None, None]

    def codewords(self) -> Tensor:
        """Return the tables (M, K, D / M) of tangent vectors, cut to the radius."""
        return clipped(self.codebooks, self.radius)

    def tangents(self, vectors: Tensor) -> Tensor:
        """Return the embeddings (M, N, D / M) of vectors (N, D), as tangent vectors, cut to the radius."""
        return clipped(
            self.parts(self.network(vectors.to(self.codebooks.dtype))).transpose(0, 1), self.radius
        )

    def soft(self, tangents: Tensor) -> Tensor:
        """Return the softly quantized points (M, N, D / M + 1) of tangent vectors (M, N, D / M)."""
        points, table = (lorentz.exponential(each, self.curvature) for each in (tangents, self.codewords()))
        squares = lorentz.squared_lorentz_distances(points, table, self.curvature)
        return lorentz.centroids(torch.softmax(-self.temperature * squares, dim=2), table, self.curvature)

    def distances(self, queries: Tensor, codes: Tensor) -> Tensor:
        """Return the distances (Q, N) of queries (Q, D) to the items of codes (N, M): M look-ups and additions each.

        The query is not quantized. A table holds the geodesic distances of its parts to all codewords.
        """
        queries = self._vectors(queries)
        self._check_finite(queries)
        self._check_codes(codes)
        with torch.no_grad():
            points, table = (
                lorentz.exponential(each, self.curvature)
                for each in (self.tangents(queries), self.codewords())
            )
            entries = lorentz.geodesic_distances(points, table, self.curvature)  # (M, Q, K)
            total = entries.new_zeros(len(queries), len(codes))
            for entry, column in zip(entries, codes.unbind(1), strict=True):
                total += entry[:, column]
        return total

    def fit(
        self,
        vectors: Tensor,
        iterations: int = 600,
        seed: int = 0,
        augment: Augment = jitter,
        recluster: int = 100,
    ) -> Self:
        """Learn from vectors (N, D) by steps of Adam; the weights start where the constructor put them.

        Args:
            vectors: (N, D), more than the largest number of clusters.
            iterations: steps.
            seed: of batches and views.
            augment: makes a view (B, D) of vectors (B, D) with a generator.
            recluster: steps between two clusterings.

        Raises:
            ValueError: a wrong width, NaN, Inf, or too few vectors.
        """
        vectors = self._finite_vectors(vectors)
        if len(vectors) < max([2, *self.levels]):
            raise ValueError(f"fit needs at least {max([2, *self.levels])} vectors, got {len(vectors)}.")
        generator = torch.Generator().manual_seed(seed)
        prototypes: list[Prototypes] = []
        step = 0

        def loss(rows: Tensor) -> Tensor:
            nonlocal prototypes, step
            if self.levels and step >= iterations // 2 and (step - iterations // 2) % recluster == 0:
                with torch.no_grad():
                    features = self.tangents(vectors).transpose(0, 1).flatten(1)
                prototypes = ward_prototypes(features, self.levels)
            step += 1
            views = [augment(vectors[rows], generator) for _ in range(2)]
            own = [Prototypes(level.assignments[rows], level.centres) for level in prototypes]
            return torch.stack(list(self.contrasts(*views, own).values())).sum()

        adam(self.parameters(), loss, len(vectors), iterations, seed=seed)
        return self

    def contrasts(
        self, first: Tensor, second: Tensor, prototypes: Sequence[Prototypes] = ()
    ) -> dict[str, Tensor]:
        """Return the weighted losses of two views (B, D) of the same items, and of the levels of their hierarchy.

        Args:
            first: (B, D).
            second: (B, D).
            prototypes: for each level the clusters (B,) of the items and all centres (C, D) as tangent vectors.
        """
        count = len(first)
        points = self.soft(self.tangents(torch.cat([first, second])))
        logits = -self._between(points, points) / self.contrast_temperature
        logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=logits.device), -torch.inf)
        partner = torch.arange(2 * count, device=logits.device).roll(count)
        losses = {"views": F.cross_entropy(logits, partner)}
        if prototypes:
            among = [neighbour_contrast(logits[:count, :count], level.assignments) for level in prototypes]
            losses["neighbours"] = self.neighbour_weight * torch.stack(among).mean()
            against = [self._prototype_contrast(points[:, :count], level) for level in prototypes]
            losses["prototypes"] = self.prototype_weight * torch.stack(against).mean()
        return losses

    def _prototype_contrast(self, points: Tensor, level: Prototypes) -> Tensor:
        centres = lorentz.exponential(self.parts(level.centres).transpose(0, 1), self.curvature)
        return F.cross_entropy(-self._between(points, centres) / self.contrast_temperature, level.assignments)

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        """Geodesic distances (A, B) of points (M, A, D / M + 1) and (M, B, D / M + 1), summed over the parts."""
        return lorentz.geodesic_distances(first, second, self.curvature).sum(dim=0)

    def _nearest(self, tangents: Tensor) -> Tensor:
        points, table = (lorentz.exponential(each, self.curvature) for each in (tangents, self.codewords()))
        return lorentz.inner_products(points, table).argmax(dim=2).T.contiguous()

    def _encode(self, vectors: Tensor) -> Tensor:
        return self._nearest(self.tangents(vectors))

    def _quantize(self, vectors: Tensor) -> Quantized:
        tangents = self.tangents(vectors)
        codes = self._nearest(tangents.detach())
        soft = lorentz.logarithm(self.soft(tangents), self.curvature).transpose(0, 1).flatten(1)
        exact = take_codewords(self.codewords(), codes).detach()
        return Quantized((exact + (soft - soft.detach())).to(vectors.dtype), codes, {})


def neighbour_contrast(logits: Tensor, clusters: Tensor) -> Tensor:
    """Return the cross-entropy of finding an item of the same cluster, the first of the batch, among the others.

    Args:
        logits: (B, B), -inf on the diagonal.
        clusters: (B,) of the items. Items alone in their cluster count as zero.
    """
    same = clusters[:, None] == clusters[None]
    same.fill_diagonal_(False)
    found = same.any(dim=1)
    losses = F.cross_entropy(logits, same.float().argmax(dim=1), reduction="none")
    # An item without a neighbour would be told to find the first item, or itself, at infinite loss.
    return torch.where(found, losses, 0.0).sum() / len(logits)


def clipped(vectors: Tensor, radius: float) -> Tensor:
    """Return vectors (..., W), those longer than the radius cut to it."""
    length = vectors.square().sum(dim=-1, keepdim=True).clamp(min=1e-14).sqrt()
    return vectors * (radius / length).clamp(max=1)
