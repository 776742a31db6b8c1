"""Differentiable optimized product quantization: orthogonal views of the latent, learned with codebooks and task.

Parts: a product of tables (`product`), the gradient of direct loss minimisation (`direct_loss`), gradient fit (`adam`);
what is new is that the views are learned with everything else and stay orthogonal while they are.
"""

from typing import Self

import torch
from torch import Tensor, nn

from impl.quantizers.adam import adam
from impl.quantizers.base import Quantized
from impl.quantizers.direct_loss import direct_loss
from impl.quantizers.kmeans import kmeans_of_parts
from impl.quantizers.product import ProductCodebooks, nearest_in_parts, take_codewords
from impl.quantizers.tables import CodewordTables


class DifferentiableOptimizedProductQuantizer(ProductCodebooks):
    """Differentiable optimized product quantization, DOPQ (lu2023differentiable).

    Each codebook sees a view x R_m of its own of the whole latent, in place of a slice of it. The views are orthogonal,
    to one another too, so that no two codebooks learn the same: they are the blocks of R = exp(S - S'), which is a
    rotation whatever S is. A view takes its nearest codeword; what is decoded is the sum of the codewords c_m R_m'.
    S, codebooks and encoder are trained together by the loss of the task alone, whose gradient passes the choice of
    the codeword by direct loss minimisation.

    `fit` trains for reconstruction, where there is no other task.

    Args:
        dim: D.
        codebook_size: K, the same for each view.
        num_codebooks: M, a divisor of D; a view has D / M dimensions.
        epsilon: of the direct loss, as a share of the spread of the codewords.

    Raises:
        ValueError: an epsilon that is not positive.
    """

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, epsilon: float = 0.3) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}.")
        self.epsilon = epsilon
        self.turn = nn.Parameter(torch.zeros(dim, dim))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two views with 8 codewords each."""
        return cls(dim, 8, 2)

    @property
    def rotation(self) -> Tensor:
        """R (D, D), whose columns m D / M and on are the view R_m."""
        return torch.matrix_exp(self.turn - self.turn.T)

    def parts(self, vectors: Tensor) -> Tensor:
        """Return the views (N, M, D / M) of vectors (N, D)."""
        return super().parts(vectors @ self.rotation.to(vectors.dtype))

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0, learning_rate: float = 1e-2) -> Self:
        """Start codebooks by k-means on vectors (N, D), unturned, then train views and codebooks to reconstruct them.

        Args:
            vectors: (N, D), at least one.
            iterations: times that all vectors are seen by Adam; 0 only starts, for training with a task.
            seed: of the k-means and of the batches.
            learning_rate: of Adam.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        self.turn.zero_()
        self.codebooks.copy_(kmeans_of_parts(self.parts(vectors), self.codebook_size, 10, seed))
        steps = iterations * -(-len(vectors) // 128)

        def loss(rows: Tensor) -> Tensor:
            return (self._quantize(vectors[rows]).latents - vectors[rows]).square().mean()

        adam(self.parameters(), loss, len(vectors), steps, learning_rate=learning_rate, seed=seed)
        return self

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords with the rotation before them, for `impl.search`."""
        return super().codeword_tables()._replace(rotation=self.rotation.detach())

    def _encode(self, vectors: Tensor) -> Tensor:
        return nearest_in_parts(self.parts(vectors), self.codebooks)

    def _decode(self, codes: Tensor) -> Tensor:
        return take_codewords(self.codebooks, codes) @ self.rotation.T

    def _quantize(self, vectors: Tensor) -> Quantized:
        views = self.parts(vectors)
        codes = nearest_in_parts(views.detach(), self.codebooks.detach())
        columns = zip(views.unbind(1), self.codebooks.to(vectors.dtype), codes.unbind(1), strict=True)
        # In the units of the codewords' spread, which follows that of the latents; a single codeword has none.
        spread = self.codebooks.detach().var(dim=1, correction=0).sum(dim=1).sqrt().clamp(min=1e-6)
        pairs = zip(columns, self.epsilon * spread, strict=True)
        chosen = torch.cat([direct_loss(*column, reach) for column, reach in pairs], dim=1)
        return Quantized(chosen @ self.rotation.T.to(vectors.dtype), codes, {})
