"""SCQ: a latent becomes a convex combination of codewords, found by a convex programme.

Parts: nearest codeword (`lookup`), the programme and its relaxation (`convex`); what is new is that nothing is rounded,
so that the gradient needs no straight-through.
"""

from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.convex import convex_weights, relaxed_weights
from impl.quantizers.lookup import nearest_codes


class SoftConvexQuantizer(Quantizer):
    """Soft convex quantization (gautam2024soft).

    A latent z becomes C' p with the weights p that minimise |z - C' p|^2 + lambda |p - p~|^2 over the simplex, p~ the
    indicator of the nearest codeword. Latents and codewords get the exact gradient of this map, and a loss, the mean of
    (C' p - z)^2, that pulls both. A large lambda gives back the nearest codeword.

    `forward` gives the combination, in evaluation too: that is what the paper decodes. It is no function of the code,
    which is the codeword of the largest weight; `decode` returns that codeword alone, and all weights would take K
    numbers to store.

    Args:
        dim: D, width of latents and codewords.
        codebook_size: K.
        penalty: lambda.
        solver: "relaxed" solves without the constraint and projects on the simplex, for large K; "exact" solves the
            programme.
        commitment_weight: of the loss.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, a penalty that is not positive, an unknown solver.
    """

    exempt_laws: ClassVar[dict[str, str]] = {
        "decode_inverts_encode": "the decoder sees a convex combination, of which a code keeps one codeword",
    }
    solvers: ClassVar[tuple[str, ...]] = ("relaxed", "exact")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        penalty: float = 0.1,
        solver: Literal["relaxed", "exact"] = "relaxed",
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.codebook_sizes = (codebook_size,)
        if not penalty > 0:
            raise ValueError(f"penalty must be positive, got {penalty}.")
        if solver not in self.solvers:
            raise ValueError(f"solver must be one of {', '.join(self.solvers)}, got {solver!r}.")
        self.penalty, self.solver, self.commitment_weight = penalty, solver, commitment_weight
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return 16 codewords, relaxed."""
        return cls(dim, 16)

    def weights(self, vectors: Tensor) -> Tensor:
        """Return the convex weights (N, K) of vectors (N, D), with the gradient to vectors and codewords."""
        table = self.codebook.to(vectors.dtype)
        nearest = nearest_codes(vectors.detach(), table.detach())
        anchors = nn.functional.one_hot(nearest, self.codebook_size).to(vectors.dtype)
        solve = relaxed_weights if self.solver == "relaxed" else convex_weights
        return solve(vectors, table, anchors, self.penalty)

    def _quantize(self, vectors: Tensor) -> Quantized:
        weights = self.weights(vectors)
        latents = weights @ self.codebook.to(vectors.dtype)
        losses = {"commitment": self.commitment_weight * mean_square(latents - vectors)}
        return Quantized(latents, weights.detach().argmax(dim=1, keepdim=True), losses)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.weights(vectors).argmax(dim=1, keepdim=True)

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]]

    def extra_repr(self) -> str:
        """Sizes, bits and solver, for print(module)."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, bits={self.bits:g}, solver={self.solver}"
