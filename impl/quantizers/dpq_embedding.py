"""Differentiable product quantization: embedding tables that are learned as codes.

Parts: a product of tables (`product`), straight-through on the index or on the vector (`assignment`, `gradients`),
scores normalised over the batch (`score_normalization`); what is new is that queries, keys and values are told apart,
and that only codes and values are kept.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from impl.quantizers.assignment import one_hot_through
from impl.quantizers.base import Quantized, mean_square, positive_integer
from impl.quantizers.gradients import straight_through
from impl.quantizers.product import ProductCodebooks, take_codewords
from impl.quantizers.score_normalization import ScoreNormalization


class DifferentiableProductQuantizer(ProductCodebooks):
    """Scores of queries against keys, normalised; the code of a part is that of its largest score.

    Each code's score is brought to mean 0 and variance 1 over the batch, so that no code wins everywhere because its
    key is long or near to all.

    Args:
        dim: D, of queries and of values.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
    """

    part_of: ClassVar[str] = "the shared part of the two variants of differentiable product quantization"

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        self.normalization = ScoreNormalization(num_codebooks, codebook_size)
        with torch.no_grad():
            self.codebooks /= math.sqrt(dim)  # as the rows of a query table that starts with variance 1 / D

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codes."""
        return cls(dim, 8, 2)

    def scores(self, parts: Tensor) -> Tensor:
        """Return how well the queries' parts (N, M, D / M) fit each key, (N, M, K), before normalisation."""
        raise NotImplementedError

    def _encode(self, vectors: Tensor) -> Tensor:
        parts = self.parts(vectors.to(self.codebooks.dtype))
        return self.normalization.apply_averages(self.scores(parts)).argmax(dim=2)


class SoftmaxDPQ(DifferentiableProductQuantizer):
    """Differentiable product quantization with a softmax, DPQ-SX (chen2020differentiable).

    The score of a key is its inner product with the part of the query. Forward, the value of the best key is taken;
    backward, the indicator of that key has the gradient of softmax(scores / tau), so that queries, all keys and all
    values learn from whatever the embedding is used for. There is no loss of its own. Keys and values differ, and only
    the values are needed afterwards.

    Args:
        dim: D.
        codebook_size: K.
        num_codebooks: M, a divisor of D.
        temperature: tau.

    Raises:
        ValueError: a temperature that is not positive.
    """

    def __init__(self, dim: int, codebook_size: int, num_codebooks: int, temperature: float = 1.0) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        self.temperature = temperature
        self.keys = nn.Parameter(torch.randn_like(self.codebooks) / math.sqrt(dim))

    def scores(self, parts: Tensor) -> Tensor:
        """Return inner products."""
        return torch.einsum("nmw,mkw->nmk", parts, self.keys)

    def _quantize(self, vectors: Tensor) -> Quantized:
        scores = self.normalization(self.scores(self.parts(vectors.to(self.keys.dtype))))
        codes = scores.argmax(dim=2)
        probabilities = torch.softmax(scores / self.temperature, dim=2)
        indicator = one_hot_through(probabilities.flatten(0, 1), codes.flatten()).view_as(scores)
        mixed = torch.einsum("nmk,mkw->nmw", indicator, self.codebooks).flatten(1)
        exact = take_codewords(self.codebooks, codes).detach()  # to the bit, whatever the product rounds
        return Quantized((exact + (mixed - mixed.detach())).to(vectors.dtype), codes, {})


class CentroidDPQ(DifferentiableProductQuantizer):
    """Differentiable product quantization with centroids, DPQ-VQ (chen2020differentiable).

    Keys and values are one: the score is minus the squared distance, and the gradient of the chosen codeword goes to
    the query unchanged. The codewords follow a loss of their own, mean (sg[query] - codeword)^2.

    Args:
        dim: D.
        codebook_size: K.
        num_codebooks: M, a divisor of D.
    """

    part_of: ClassVar[str] = "dpq-embedding"

    def scores(self, parts: Tensor) -> Tensor:
        """Return minus squared distances."""
        keys = self.codebooks
        cross = torch.einsum("nmw,mkw->nmk", parts, keys)
        return 2 * cross - parts.square().sum(dim=2, keepdim=True) - keys.square().sum(dim=2)

    def _quantize(self, vectors: Tensor) -> Quantized:
        with torch.no_grad():
            scores = self.scores(self.parts(vectors.to(self.codebooks.dtype)))
            codes = self.normalization(scores).argmax(dim=2)
        codewords = take_codewords(self.codebooks, codes).to(vectors.dtype)
        losses = {"codebook": mean_square(vectors.detach() - codewords)}
        return Quantized(straight_through(vectors, codewords), codes, losses)


class CompressedEmbedding(nn.Module):
    """An embedding table that is trained through a quantizer, and kept as codes.

    The query table (n, D) is there for training alone. `export` returns what is kept.

    Args:
        num_embeddings: n.
        quantizer: `SoftmaxDPQ` or `CentroidDPQ`.
    """

    def __init__(self, num_embeddings: int, quantizer: ProductCodebooks) -> None:
        super().__init__()
        positive_integer("num_embeddings", num_embeddings)
        self.queries = nn.Embedding(num_embeddings, quantizer.dim)
        nn.init.normal_(self.queries.weight, std=quantizer.dim**-0.5)
        self.quantizer = quantizer

    def forward(self, symbols: Tensor) -> Quantized:
        """Return embeddings (..., D), codes (..., M) and losses of symbols (...), int64 in [0, n)."""
        return self.quantizer(self.queries(symbols))

    def export(self) -> "CodedEmbedding":
        """Return the codes of all symbols, and the values."""
        with torch.no_grad():
            codes = self.quantizer.encode(self.queries.weight)
            return CodedEmbedding(codes, self.quantizer.codewords().detach().clone())


class CodedEmbedding(nn.Module):
    """An embedding table as codes (n, M) into values (M, K, D / M): M look-ups a symbol, no arithmetic.

    Args:
        codes: (n, M), int64.
        values: (M, K, D / M).
    """

    codes: Tensor
    values: Tensor

    def __init__(self, codes: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self.register_buffer("values", values)

    @property
    def bits(self) -> float:
        """What codes (log2 K bits each) and values (32 bits a number) take."""
        return self.codes.numel() * math.log2(self.values.shape[1]) + 32 * self.values.numel()

    @property
    def compression_ratio(self) -> float:
        """How many times more a table (n, D) of 32-bit numbers would take."""
        return 32 * len(self.codes) * len(self.values) * self.values.shape[2] / self.bits

    def forward(self, symbols: Tensor) -> Tensor:
        """Return embeddings (..., D) of symbols (...), int64 in [0, n)."""
        codes = self.codes[symbols]
        return take_codewords(self.values, codes.flatten(0, -2)).reshape(*symbols.shape, -1)
