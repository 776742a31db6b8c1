"""LSQ: additive quantization whose codes are found by iterated local search.

Parts: the loop of least squares and search (`alternating`), the search (`iterated_local_search`).
"""

from typing import Self

from torch import Tensor

from impl.quantizers.alternating import AlternatingCodebooks
from impl.quantizers.base import positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.iterated_local_search import local_search


class LocalSearchQuantizer(AlternatingCodebooks):
    """Local search quantization, LSQ (martinez2016revisiting).

    The model is that of additive quantization. Training keeps the codes between steps and improves them by a few rounds
    of local search; a new vector starts from greedy codes and takes more rounds.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        rounds: of perturbation in encoding.
        training_rounds: the same in each step of `fit`.
        sweeps: of coordinate descent in a round.
        perturbed: codes moved in a round, at most M; None for half of them.
        commitment_weight: beta, inside an autoencoder.
    """

    #: Of the draws in encoding: a vector has the same code each time.
    SEED = 0

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        rounds: int = 16,
        training_rounds: int = 3,
        sweeps: int = 4,
        perturbed: int | None = None,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        self.rounds = positive_integer("rounds", rounds, least=0)
        self.training_rounds = positive_integer("training_rounds", training_rounds, least=0)
        self.sweeps = positive_integer("sweeps", sweeps)
        perturbed = (num_codebooks + 1) // 2 if perturbed is None else perturbed
        if positive_integer("perturbed", perturbed) > num_codebooks:
            raise ValueError(f"perturbed must be at most num_codebooks, {num_codebooks}, got {perturbed}.")
        self.perturbed = perturbed

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return three codebooks of 8 codewords and four rounds."""
        return cls(dim, 8, 3, rounds=4, training_rounds=2)

    def improved_codes(self, vectors: Tensor, codebooks: Tensor, codes: Tensor, seed: int) -> Tensor:
        """Return codes (N, M) of vectors (N, D), none of larger error than those given."""
        return local_search(
            vectors, codebooks, codes, self.training_rounds, self.sweeps, self.perturbed, seed
        )

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedy ones, improved by local search."""
        codebooks = self.codebooks.detach().to(vectors.dtype)
        start = greedy_codes(vectors, codebooks)
        return local_search(vectors, codebooks, start, self.rounds, self.sweeps, self.perturbed, self.SEED)
