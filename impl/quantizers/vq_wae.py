"""VQ-WAE: optimal transport holds the latents' distribution and the weighted codebook together.

Parts: nearest codeword, straight-through gradient (`nearest`), squared distances (`assignment`), entropic transport
(`optimal_transport`); what is new is that the Wasserstein distance to a codebook with learned weights takes the place
of the codebook's and the commitment loss.
"""

import math
from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import squared_distances
from impl.quantizers.base import positive_integer
from impl.quantizers.collectives import gathered, joined_rows, world_size
from impl.quantizers.entropies import mean_entropy
from impl.quantizers.nearest import NearestCodeword
from impl.quantizers.optimal_transport import sinkhorn


class WassersteinVQ(NearestCodeword):
    """The quantizer of the vector quantized Wasserstein autoencoder (vuong2023vector).

    Latents of a batch are N points of mass 1/N, codewords K points of mass pi_k, pi = softmax of learned logits. The
    losses are

        "transport"  beta W(latents, weighted codewords), the least cost of carrying one measure to the other when a
                     unit of mass costs the squared distance that it goes,
        "prior"      lambda KL(pi | uniform).

    Some latents must give each codeword its mass, so none is left behind, and latents are drawn to codewords that have
    mass to take. The gradient reaches latents, codewords and weights. The decoder sees the nearest codeword,
    straight through, as in VQ-VAE; in evaluation too.

    W is entropic. Its dual potential on the codewords is kept from one training batch to the next and improved by a few
    Sinkhorn iterations, in the place of the network that the paper trains for that. The measure is that of all
    positions together, and of the joined batch of all processes.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        transport_weight: beta.
        prior_weight: lambda.
        epsilon: of the entropic term, as a share of the batch's mean cost.
        iterations: of Sinkhorn a batch.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, an epsilon that is not positive.
    """

    potential: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        transport_weight: float = 1e-3,
        prior_weight: float = 1.0,
        epsilon: float = 0.01,
        iterations: int = 10,
    ) -> None:
        super().__init__(dim, codebook_size, commitment_weight=0.0)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}.")
        self.transport_weight, self.prior_weight = transport_weight, prior_weight
        self.epsilon, self.iterations = epsilon, positive_integer("iterations", iterations)
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))
        self.weight_logits = nn.Parameter(torch.zeros(codebook_size))
        self.register_buffer("potential", torch.zeros(codebook_size))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords."""
        return cls(dim, 16)

    @property
    def weights(self) -> Tensor:
        """pi (K,), the mass of each codeword."""
        return torch.softmax(self.weight_logits, dim=0)

    def codewords(self) -> Tensor:
        """Return the table (K, D) itself."""
        return self.codebook

    def losses(self, vectors: Tensor, codewords: Tensor) -> dict[str, Tensor]:
        """Return the transport cost of vectors (N, D) and the prior on the weights."""
        prior = (math.log(self.codebook_size) - mean_entropy(self.weight_logits[None])) * (len(vectors) > 0)
        return {
            "transport": self.transport_weight * self.transport_cost(vectors),
            "prior": self.prior_weight * prior,
        }

    def transport_cost(self, vectors: Tensor) -> Tensor:
        """Return <P, C> of the entropic plan P, with the gradient of the entropic optimum; zero for no vectors.

        By Danskin's theorem that gradient is P in the costs and the potential in the weights.
        """
        start, total = joined_rows(len(vectors))
        if total == 0:
            return vectors.sum() + 0 * self.codebook.sum() + 0 * self.weight_logits.sum()
        weights = self.weights.to(vectors.dtype)
        # The plan is that of the joined batch; rows of this process pay their part of its cost.
        every = squared_distances(gathered(vectors.detach()), self.codebook.detach())
        epsilon = (self.epsilon * every.mean()).clamp(min=torch.finfo(every.dtype).tiny)
        masses = every.new_full((total,), 1 / total)
        known = self.potential.to(every.dtype)
        found = sinkhorn(every, masses, weights.detach(), epsilon, self.iterations, known)
        if self.training:
            self.potential.copy_(found.columns - found.columns.mean())
        own = found.plan[start : start + len(vectors)]
        cost = world_size() * (own * squared_distances(vectors, self.codebook)).sum()
        return cost + (found.columns * (weights - weights.detach())).sum()
