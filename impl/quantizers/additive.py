"""The shared part of quantizers whose latent is the sum of M codewords of full width, one from each codebook."""

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.base import Quantized, Quantizer, mean_square, positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.gradients import straight_through
from impl.quantizers.kmeans import kmeans
from impl.quantizers.tables import CodewordTables


class AdditiveCodebooks(Quantizer):
    """M tables of K codewords; the latent is the sum of one codeword of each.

    A method says how codes are found (`codes`; greedily by default) and how `fit` makes the tables
    (`learn_codebooks`). Inside an autoencoder all tables follow one codebook loss, on the sum; gradients pass straight
    through.

    Args:
        dim: D.
        codebook_size: K, the same for each codebook.
        num_codebooks: M.
        commitment_weight: beta, on the encoder's term.
    """

    part_of: ClassVar[str] = "the shared part of quantizers that add up codewords"

    def __init__(
        self, dim: int, codebook_size: int, num_codebooks: int, commitment_weight: float = 0.25
    ) -> None:
        super().__init__()
        self.dim = positive_integer("dim", dim)
        self.codebook_size = positive_integer("codebook_size", codebook_size)
        self.num_codebooks = positive_integer("num_codebooks", num_codebooks)
        self.codebook_sizes = (codebook_size,) * num_codebooks
        self.commitment_weight = commitment_weight
        # Later codebooks start smaller, as residuals are.
        scales = 2.0 ** -torch.arange(num_codebooks)[:, None, None]
        self.codebooks = nn.Parameter(torch.randn(num_codebooks, codebook_size, dim) * scales / dim**0.5)

    @torch.no_grad()
    def fit(self, vectors: Tensor, iterations: int = 25, seed: int = 0) -> Self:
        """Learn the codebooks from vectors (N, D).

        Args:
            vectors: (N, D), at least one.
            iterations: of the method's outer loop, and of each k-means in it.
            seed: of every random choice.

        Raises:
            ValueError: a wrong width, NaN, Inf, or no vectors.
        """
        vectors = self._training_vectors(vectors)
        self.learn_codebooks(vectors, iterations, seed)
        return self

    def learn_codebooks(self, vectors: Tensor, iterations: int, seed: int) -> None:
        """Set the codebooks from vectors (N, D)."""
        raise NotImplementedError

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedily, codebook after codebook."""
        return greedy_codes(vectors, self.codebooks.detach())

    def codeword_tables(self) -> CodewordTables:
        """Return the codewords of every codebook, for `impl.search`."""
        return CodewordTables(list(self.codebooks.detach()), [0] * self.num_codebooks)

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.codes(vectors)

    def _decode(self, codes: Tensor) -> Tensor:
        return sum_codewords(self.codebooks, codes)

    def _quantize(self, vectors: Tensor) -> Quantized:
        with torch.no_grad():
            codes = self._encode(vectors.detach())
        total = self._decode(codes).to(vectors.dtype)
        losses = {
            "commitment": self.commitment_weight * mean_square(vectors - total.detach()),
            "codebook": mean_square(vectors.detach() - total),
        }
        return Quantized(straight_through(vectors, total), codes, losses)

    def extra_repr(self) -> str:
        """Sizes and bits, for print(module)."""
        sizes = f"codebook_size={self.codebook_size}, num_codebooks={self.num_codebooks}"
        return f"dim={self.dim}, {sizes}, bits={self.bits:g}"


def sum_codewords(codebooks: Tensor, codes: Tensor) -> Tensor:
    """Return the sums (N, D) of the codewords of codes (N, M) from codebooks (M, K, D), added in order."""
    total = torch.zeros(len(codes), codebooks.shape[2], device=codes.device, dtype=codebooks.dtype)
    for codebook, column in zip(codebooks, codes.unbind(1), strict=True):
        total = total + codebook[column]
    return total


def left_by_others(vectors: Tensor, codebooks: Tensor, codes: Tensor, index: int) -> Tensor:
    """Return vectors (N, D) minus the codewords of codes (N, M) from all codebooks (M, K, D) but codebook `index`: what
    that one should hold.
    """
    return vectors - sum_codewords(codebooks, codes) + codebooks[index][codes[:, index]]


def residual_codebooks(
    vectors: Tensor, codebook_size: int, num_codebooks: int, iterations: int, seed: int
) -> Tensor:
    """Return codebooks (M, K, D) by k-means on the residuals of vectors (N, D), stage by stage: the start that many
    methods refine (chen2010approximate).
    """
    codebooks, residual = [], vectors
    for _ in range(num_codebooks):
        codebooks.append(kmeans(residual, codebook_size, iterations, seed))
        residual = residual - codebooks[-1][greedy_codes(residual, codebooks[-1][None])[:, 0]]
    return torch.stack(codebooks)


def product_codebooks(
    vectors: Tensor, codebook_size: int, num_codebooks: int, iterations: int, seed: int
) -> Tensor:
    """Return codebooks (M, K, D) by k-means on M runs of dimensions of vectors (N, D), each zero on the other
    dimensions: product quantization as a sum of codewords. Its greedy codes are its best. With M above D the last
    codebooks are zero.
    """
    codebooks = vectors.new_zeros(num_codebooks, codebook_size, vectors.shape[1])
    runs = torch.arange(vectors.shape[1]).tensor_split(num_codebooks)
    for codebook, run in zip(codebooks, runs, strict=True):
        if len(run):
            span = slice(int(run[0]), int(run[-1]) + 1)
            codebook[:, span] = kmeans(vectors[:, span].contiguous(), codebook_size, iterations, seed)
    return codebooks
