"""Lloyd's k-means: the fit of every classical quantizer and an initialisation for the neural ones."""

import torch
from torch import Tensor

from impl.quantizers.lookup import nearest_codes
from impl.threads import map_on_threads


def cluster_sums(vectors: Tensor, codes: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """Return how many vectors each code has, (K,), and their sum, (K, D)."""
    # Not bincount: the size of its result depends on the data, which breaks a compiled graph.
    counts = vectors.new_zeros(codebook_size).index_add_(0, codes, vectors.new_ones(len(codes)))
    sums = vectors.new_zeros(codebook_size, vectors.shape[1]).index_add_(0, codes, vectors)
    return counts, sums


def kmeans(vectors: Tensor, codebook_size: int, iterations: int = 25, seed: int = 0) -> Tensor:
    """Return K centroids (K, D) by k-means++ seeding and Lloyd iterations; deterministic for a seed.

    An empty cluster is moved to the vector farthest from its centroid, one vector each, and keeps its place
    when every vector already is a centroid. With at most K distinct vectors the error is exactly 0.

    Args:
        vectors: (N, D), N at least 1, finite.
        codebook_size: K. With N < K the first N centroids are the vectors and the rest repeat them.
        iterations: Lloyd iterations at most; stops early at a fixed point.
        seed: seeds a private generator, so that the global one is left alone.

    Raises:
        ValueError: no vectors.
    """
    return kmeans_of_parts(vectors[:, None], codebook_size, iterations, seed)[0]


@torch.no_grad()
def kmeans_of_parts(parts: Tensor, codebook_size: int, iterations: int = 25, seed: int = 0) -> Tensor:
    """Return the centroids (M, K, W) of parts (N, M, W), each clustered alone: what `kmeans` gives for each.

    Raises:
        ValueError: no vectors.
    """
    if len(parts) == 0:
        raise ValueError("kmeans needs at least one vector, got an empty batch.")
    generator = torch.Generator(device="cpu").manual_seed(seed)
    parts = parts.transpose(0, 1).contiguous()
    seeds = _spread_seeds(parts, codebook_size, generator)
    return torch.stack(
        map_on_threads(lambda index: lloyd(parts[index], seeds[index], iterations), range(len(parts)))
    )


def lloyd(vectors: Tensor, centroids: Tensor, iterations: int) -> Tensor:
    """Return the centroids (K, D) after Lloyd iterations on vectors (N, D), N at least 1, from given ones (K, D).

    Stops early at a fixed point. An empty cluster is treated as in `kmeans`.
    """
    previous = None
    for _ in range(iterations):
        codes = nearest_codes(vectors, centroids)
        if previous is not None and torch.equal(codes, previous):
            break
        previous = codes
        centroids = recentred(vectors, codes, centroids)
    return centroids


def recentred(vectors: Tensor, codes: Tensor, centroids: Tensor) -> Tensor:
    """Return the centroids (K, D) of vectors (N, D) with codes (N,): one half of a Lloyd iteration.

    A centroid that no vector has moves to the vector farthest from its own, one vector each.
    """
    counts, sums = cluster_sums(vectors, codes, len(centroids))
    centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centroids)
    return _fill_empty(vectors, codes, counts, centroids)


def _spread_seeds(parts: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeding (M, K, W) of parts (M, N, W) on a subsample: each seed is drawn in proportion to its squared
    distance to the others of its part.
    """
    count, device = parts.shape[1], parts.device
    if count <= codebook_size:
        return parts[:, torch.arange(codebook_size, device=device) % count]
    # Seeding is sequential in K; a subsample of some vectors per code keeps it from costing more than the
    # iterations.
    chosen = torch.randperm(count, generator=generator)[: 8 * codebook_size]
    draws = torch.rand(codebook_size - 1, generator=generator, dtype=torch.float64).to(parts)
    sample, part = parts[:, chosen.to(device)], torch.arange(len(parts), device=device)
    seeds = sample[:, :1].repeat(1, codebook_size, 1)
    distances = torch.full_like(sample[..., 0], torch.inf)
    for place, draw in enumerate(draws, start=1):
        nearer = (sample - seeds[:, place - 1 : place]).square_().sum(dim=-1)
        torch.minimum(distances, nearer, out=distances)
        mass = distances.cumsum(dim=1)
        found = torch.searchsorted(mass, draw * mass[:, -1:]).clamp_(max=sample.shape[1] - 1)
        seeds[:, place] = sample[part, found[:, 0]]
    return seeds


def _fill_empty(vectors: Tensor, codes: Tensor, counts: Tensor, centroids: Tensor) -> Tensor:
    empty = (counts == 0).nonzero().squeeze(1)
    if len(empty) == 0:
        return centroids
    distances = (vectors - centroids[codes]).square().sum(dim=1)
    farthest = distances.topk(min(len(empty), len(vectors))).indices
    farthest = farthest[distances[farthest] > 0]
    centroids = centroids.clone()
    centroids[empty[: len(farthest)]] = vectors[farthest]
    return centroids
