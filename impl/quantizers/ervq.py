"""Enhanced residual VQ: each stage's codes and codewords optimised against all other stages.

Parts: sums of codewords and the residual start (`additive`), exact search that skips distances
(`mean_deviation_filter`), centroids (`kmeans`); what is new is the coordinate descent over the stages, of codes too.
"""

from typing import Self

import torch
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, left_by_others, residual_codebooks
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.kmeans import recentred
from impl.quantizers.mean_deviation_filter import filtered_nearest


class EnhancedRVQ(AdditiveCodebooks):
    """Enhanced residual vector quantization, ERVQ (ai2017optimized).

    After residual k-means each sweep visits the stages: what all other stages leave is assigned to the nearest
    codewords of this stage, which then become the means of what they got. Both halves are exact minimisers, so the
    training error never rises. A new vector is encoded greedily and then by the same sweeps over its codes.

    Args:
        dim: D.
        codebook_size: K, the same for each stage.
        num_codebooks: M.
        sweeps: over the stages, in training and in encoding; fewer where nothing changes any more. With 0 this is
            residual quantization.
        commitment_weight: beta, inside an autoencoder.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        sweeps: int = 15,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.sweeps = positive_integer("sweeps", sweeps, least=0)

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three stages of 8 codewords."""
        return cls(dim, 8, 3, sweeps=5)

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        codebooks = residual_codebooks(vectors, self.codebook_size, self.num_codebooks, iterations, seed)
        codes = greedy_codes(vectors, codebooks)
        for _ in range(self.sweeps):
            if not sweep(vectors, codebooks, codes, learn=True):
                break
        self.codebooks.copy_(codebooks)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedy ones, improved stage by stage."""
        return coordinate_codes(vectors, self.codebooks.detach(), self.sweeps)


# One operator, because how many distances are computed depends on the data, which a compiled graph cannot hold.
@torch.library.custom_op("codebook::coordinate_codes", mutates_args=())
def coordinate_codes(vectors: Tensor, codebooks: Tensor, sweeps: int) -> Tensor:
    """Return codes (N, M) of vectors (N, D): greedy, then by sweeps over codebooks (M, K, D) until nothing changes."""
    codebooks = codebooks.to(vectors.dtype)
    codes = greedy_codes(vectors, codebooks)
    for _ in range(sweeps):
        if not sweep(vectors, codebooks, codes, learn=False):
            break
    return codes


@coordinate_codes.register_fake
def _(vectors: Tensor, codebooks: Tensor, sweeps: int) -> Tensor:
    return torch.empty(vectors.shape[0], codebooks.shape[0], dtype=torch.int64, device=vectors.device)


def sweep(vectors: Tensor, codebooks: Tensor, codes: Tensor, learn: bool) -> bool:
    """Improve codes (N, M) and, where asked to learn, codebooks (M, K, D), in place, one stage after the other.

    Returns:
        Whether a code changed.
    """
    changed = False
    for index, codebook in enumerate(codebooks):
        targets = left_by_others(vectors, codebooks, codes, index)
        found, _ = filtered_nearest(targets, codebook)
        changed = changed or not torch.equal(found, codes[:, index])
        codes[:, index] = found
        if learn:
            codebooks[index] = recentred(targets, found, codebook)
    return changed
