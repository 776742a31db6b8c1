"""How a codebook moves: by a moving average, from dead codes to living data, from k-means."""

import torch
from torch import Tensor, nn

from impl.quantizers.collectives import agreed, gathered, summed, world_size
from impl.quantizers.kmeans import cluster_sums, kmeans


class ExponentialMovingAverage(nn.Module):
    """Moving averages of the count and the sum of the vectors that chose each code (oord2017neural,
    appendix).

    N_k <- g N_k + (1 - g) n_k, m_k <- g m_k + (1 - g) sum_{i: k_i = k} x_i, c_k = m_k / N_k, where N_k in
    the quotient is Laplace-smoothed so that a code that nothing chose keeps a finite position. The averages
    start at the codebook itself (N = 1, m = c): from zeros, the first quotient would blow up. A batch of no
    vectors changes nothing.

    Args:
        codewords: (K, D), where the averages start.
        decay: g in [0, 1); 0 makes one step on all data one Lloyd iteration.
        smoothing: the Laplace count.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, codewords: Tensor, decay: float, smoothing: float = 1e-5) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.decay, self.smoothing = decay, smoothing
        self.register_buffer("counts", torch.ones(len(codewords)))
        self.register_buffer("sums", codewords.detach().clone())

    @torch.no_grad()
    def step(self, counts: Tensor, sums: Tensor) -> Tensor:
        """Take in the batch's counts (K,) and sums (K, D); return the new codewords (K, D)."""
        weight = (1 - self.decay) * (counts.sum() > 0)
        self.counts.lerp_(counts.to(self.counts), weight)
        self.sums.lerp_(sums.to(self.sums), weight)
        total = self.counts.sum()
        smoothed = (self.counts + self.smoothing) / (total + len(self.counts) * self.smoothing) * total
        return self.sums / smoothed[:, None]

    @torch.no_grad()
    def restart(self, codewords: Tensor, where: Tensor | None = None) -> None:
        """Start the averages again at `codewords` (K, D), for the codes `where` (K,) is True or for all.

        Without this a code that was moved by hand would snap back at the next step.
        """
        where = torch.ones_like(self.counts, dtype=torch.bool) if where is None else where
        self.counts.copy_(torch.where(where, torch.ones_like(self.counts), self.counts))
        self.sums.copy_(torch.where(where[:, None], codewords.to(self.sums), self.sums))


class Revival(nn.Module):
    """Moves dead codes to vectors of the present batch (random restart).

    A code is dead when the moving average of its count, this batch included, falls below `threshold`
    vectors a batch. With data-parallel processes the vectors are drawn from the joined batch, and the first
    process's draw holds.

    Args:
        codebook_size: K.
        threshold: vectors a batch.
        decay: of the moving average.
    """

    usage: Tensor

    def __init__(self, codebook_size: int, threshold: float, decay: float = 0.9) -> None:
        super().__init__()
        self.threshold, self.decay = threshold, decay
        self.register_buffer("usage", torch.full((codebook_size,), float(threshold) + 1))

    @torch.no_grad()
    def step(self, codewords: Tensor, counts: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codewords (K, D) with the dead ones replaced, and which were (K,) bool."""
        self.usage.lerp_(counts.to(self.usage), 1 - self.decay)
        dead = self.usage < self.threshold
        joined = gathered(vectors)
        if len(joined) == 0:
            return codewords, torch.zeros_like(dead)
        order = agreed(torch.randperm(len(joined), device=joined.device))
        # Without replacement as far as the batch goes, so that two dead codes do not become one.
        picked = order[torch.arange(len(codewords), device=order.device) % len(joined)]
        self.usage.copy_(torch.where(dead, torch.full_like(self.usage, self.threshold + 1), self.usage))
        return torch.where(dead[:, None], joined[picked].to(codewords), codewords), dead


@torch.no_grad()
def batch_statistics(vectors: Tensor, codes: Tensor, codebook_size: int) -> tuple[Tensor, Tensor]:
    """Return count (K,) and sum (K, D) of each code over the batch of all processes, in one packed
    all-reduce.
    """
    return summed(*cluster_sums(vectors, codes, codebook_size))


@torch.compiler.disable  # runs once, before the first step, and reads the data back
@torch.no_grad()
def kmeans_codewords(vectors: Tensor, codebook_size: int, iterations: int = 10) -> Tensor:
    """Return k-means centroids (K, D) of the batch of all processes, the same on each."""
    joined = gathered(vectors)
    centroids = kmeans(joined, codebook_size, iterations)
    return agreed(centroids) if world_size() > 1 else centroids
