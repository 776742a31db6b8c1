"""LSQ++: LSQ that is shaken while it learns, less and less.

Parts: LSQ (`lsq`); codebooks from counts (`least_squares`), which LSQ++ brought and all additive quantizers here use;
what is new here is the stochastic relaxation.
"""

from typing import Literal, Self

import torch
from torch import Tensor

from impl.quantizers.lsq import LocalSearchQuantizer


class RelaxedLocalSearchQuantizer(LocalSearchQuantizer):
    """LSQ++ (martinez2018lsq): local search quantization with annealed noise against local minima.

    Noise of temperature T = (1 - progress)^power is added in each step of `fit`, either to the codebooks before the
    codes are searched (SR-D): N(0, (T s / M)^2) in a dimension where the codewords of all codebooks have deviation s;
    or to the vectors before the codebooks are fitted (SR-C): N(0, (T s)^2), s of the vectors. The last step has none.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        relaxation: "codebooks" (SR-D) or "vectors" (SR-C).
        power: p of the temperature.
        **options: of `LocalSearchQuantizer`.

    Raises:
        ValueError: another relaxation, or a power that is not above 0.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        relaxation: Literal["codebooks", "vectors"] = "codebooks",
        power: float = 0.5,
        **options: object,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, **options)
        if relaxation not in ("codebooks", "vectors"):
            raise ValueError(f'relaxation must be "codebooks" or "vectors", got {relaxation!r}.')
        if not power > 0:
            raise ValueError(f"power must be above 0, got {power}.")
        self.relaxation, self.power = relaxation, power

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords and four rounds."""
        return cls(dim, 8, 3, rounds=4, training_rounds=2)

    def temperature(self, progress: float) -> float:
        """Return T: 1 at progress 0, 0 at progress 1."""
        return (1 - progress) ** self.power

    def relaxed_vectors(self, vectors: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Return the vectors (N, D), with noise where it belongs to them."""
        if self.relaxation != "vectors":
            return vectors
        deviations = vectors.std(dim=0, correction=0)
        return vectors + _normal(vectors, self.temperature(progress) * deviations, generator)

    def relaxed_codebooks(self, codebooks: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Return the codebooks (M, K, D), with noise where it belongs to them."""
        if self.relaxation != "codebooks":
            return codebooks
        deviations = codebooks.flatten(0, 1).std(dim=0, correction=0) / len(codebooks)
        return codebooks + _normal(codebooks, self.temperature(progress) * deviations, generator)


def _normal(like: Tensor, deviations: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return deviations * noise.to(like.device)
