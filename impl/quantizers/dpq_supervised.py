"""Deep product quantization: codes that are learned from labels, through the tables they are looked up in.

Parts: a product of tables (`product`), straight-through on the index (`assignment`), gradient fit (`adam`); what is new
is that a softmax for each part gives a soft and a hard representation from one table, and what is asked of the two.
"""

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.quantizers.adam import adam
from impl.quantizers.assignment import one_hot_through
from impl.quantizers.base import Quantized, positive_integer
from impl.quantizers.collectives import averaged
from impl.quantizers.labels import check_labels
from impl.quantizers.product import ProductCodebooks, take_codewords


class DeepProductQuantizer(ProductCodebooks):
    """Deep product quantization, DPQ (klein2019endtoend).

    A network embeds the vector, and the embedding is cut into M parts. A head for each part gives probabilities p of K
    codes. The soft representation of a part is sum_k p(k) c_k, the hard one is the codeword of the largest p, and both
    are scaled to length one. Gradients reach the probabilities from the hard one as if it were soft (straight-through
    on the index).

    `fit` learns network, heads and tables end to end from labels. One linear classifier has to recognise the class from
    either representation (two cross-entropies), and both are drawn to a learned centre of the class, hence to each
    other. Two Gini terms take the place of entropies: sum_k (mean p(k))^2 small, so that all codes are in use, and
    mean sum_k p(k)^2 large, so that each choice is sure.

    To search, encode the items and hand `soft(queries)` to `impl.search`. To classify an item, add up M look-ups.

    Args:
        dim: D, of vectors and of representations.
        codebook_size: K, the same for each part.
        num_codebooks: M, a divisor of D.
        num_classes: of the labels.
        hidden: width of the network.
        gini_batch_weight: of the term for codes that are all in use.
        gini_sample_weight: of the term for choices that are sure; too large, it settles them before codes are in use.
        central_weight: of the pull to the centres.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, or M does not divide D.
    """

    exempt_laws: ClassVar[dict[str, str]] = {
        "fit_reduces_the_error": "fit needs labels, and codes tell classes apart instead of approximating the input"
    }
    class_scores: Tensor
    class_bias: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        num_classes: int,
        hidden: int = 128,
        gini_batch_weight: float = 1.0,
        gini_sample_weight: float = 0.1,
        central_weight: float = 0.1,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks)
        self.num_classes = positive_integer("num_classes", num_classes)
        self.gini_batch_weight, self.gini_sample_weight = gini_batch_weight, gini_sample_weight
        self.central_weight = central_weight
        positive_integer("hidden", hidden)
        self.network = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.heads = nn.ModuleList(
            nn.Linear(dim // num_codebooks, codebook_size) for _ in range(num_codebooks)
        )
        #: What each code adds to each class's score, (M, K, classes), and the score without codes; zero before `fit`.
        self.register_buffer("class_scores", torch.zeros(num_codebooks, codebook_size, num_classes))
        self.register_buffer("class_bias", torch.zeros(num_classes))

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two parts of 8 codewords, for three classes."""
        return cls(dim, 8, 2, num_classes=3, hidden=16)

    def codewords(self) -> Tensor:
        """Return the tables (M, K, D / M), each codeword of length one."""
        return F.normalize(self.codebooks, dim=2)

    def probabilities(self, vectors: Tensor) -> Tensor:
        """Return what the heads give to each code, (N, M, K), for vectors (N, D)."""
        return torch.softmax(self._logits(vectors), dim=2)

    def soft(self, latents: Tensor) -> Tensor:
        """Return the soft representations (..., D) of latents (..., D): what a query is compared by."""
        vectors = self._vectors(latents)
        return self._soft(self.probabilities(vectors)).reshape(latents.shape).to(latents.dtype)

    def classify(self, codes: Tensor) -> Tensor:
        """Return the scores (..., classes) of what codes (..., M) stand for, by look-up and addition alone."""
        self._check_codes(codes)
        parts = torch.arange(self.num_codebooks, device=codes.device)
        return self.class_scores[parts, codes].sum(dim=-2) + self.class_bias

    def fit(self, vectors: Tensor, labels: Tensor, iterations: int = 600, seed: int = 0) -> Self:
        """Learn from vectors (N, D) and their labels (N,), int64 in [0, classes), by steps of Adam.

        The weights start where the constructor put them, under torch's own seed.

        Raises:
            ValueError: a wrong width, NaN, Inf, no vectors, or labels that do not fit.
        """
        vectors = self._vectors(vectors).to(self.codebooks.dtype)
        self._check_finite(vectors)
        check_labels(labels, len(vectors), self.num_classes)
        classifier = nn.Linear(self.dim, self.num_classes).to(vectors)
        nn.init.zeros_(classifier.weight)
        nn.init.zeros_(classifier.bias)
        centres = nn.Parameter(vectors.new_zeros(self.num_classes, self.dim))

        def loss(rows: Tensor) -> Tensor:
            terms = self.supervised_losses(vectors[rows], labels[rows], classifier, centres)
            return torch.stack(list(terms.values())).sum()

        parameters = [*self.parameters(), *classifier.parameters(), centres]
        adam(parameters, loss, len(vectors), iterations, seed=seed)
        with torch.no_grad():
            weights = self.parts(classifier.weight)  # (classes, M, D / M)
            self.class_scores.copy_(torch.einsum("mkw,cmw->mkc", self.codewords(), weights))
            self.class_bias.copy_(classifier.bias)
        return self

    def supervised_losses(
        self, vectors: Tensor, labels: Tensor, classifier: nn.Module, centres: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted losses of vectors (N, D) with labels (N,).

        Args:
            vectors: a batch.
            labels: int64.
            classifier: maps representations (N, D) to scores (N, classes).
            centres: (classes, D).
        """
        probabilities = self.probabilities(vectors)
        soft, hard = self._soft(probabilities), self._hard(probabilities)[0]
        pull = sum((centres[labels] - each).square().sum(dim=1).mean() for each in (soft, hard)) / 2
        return {
            "soft": F.cross_entropy(classifier(soft), labels),
            "hard": F.cross_entropy(classifier(hard), labels),
            "central": self.central_weight * pull,
            **self._gini(probabilities),
        }

    def _logits(self, vectors: Tensor) -> Tensor:
        embedded = self.parts(self.network(vectors.to(self.codebooks.dtype)))
        return torch.stack(
            [head(part) for head, part in zip(self.heads, embedded.unbind(1), strict=True)], dim=1
        )

    def _soft(self, probabilities: Tensor) -> Tensor:
        mixed = torch.einsum("nmk,mkw->nmw", probabilities, self.codewords())
        return F.normalize(mixed, dim=2).flatten(1)

    def _hard(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Codewords (N, D) of the most probable codes, with their gradient to the probabilities, and the codes."""
        codes = probabilities.argmax(dim=2)
        indicator = one_hot_through(probabilities.flatten(0, 1), codes.flatten()).view_as(probabilities)
        mixed = torch.einsum("nmk,mkw->nmw", indicator, self.codewords()).flatten(1)
        exact = take_codewords(self.codewords(), codes).detach()  # to the bit, whatever the product rounds
        return exact + (mixed - mixed.detach()), codes

    def _gini(self, probabilities: Tensor) -> dict[str, Tensor]:
        return {
            "gini_batch": self.gini_batch_weight * gini_batch(probabilities),
            "gini_sample": self.gini_sample_weight * gini_sample(probabilities),
        }

    def _encode(self, vectors: Tensor) -> Tensor:
        return self.probabilities(vectors).argmax(dim=2)

    def _quantize(self, vectors: Tensor) -> Quantized:
        probabilities = self.probabilities(vectors)
        hard, codes = self._hard(probabilities)
        return Quantized(hard.to(vectors.dtype), codes, self._gini(probabilities))


def gini_batch(probabilities: Tensor) -> Tensor:
    """Return sum_k (mean_n p_nk)^2, averaged over parts: 1/K when all codes are used alike, 1 when one is used.

    Args:
        probabilities: (N, M, K); the mean is over the joined batch of all processes. 0 for N = 0.
    """
    if len(probabilities) == 0:
        return probabilities.sum()
    return averaged(probabilities.mean(dim=0)).square().sum(dim=1).mean()


def gini_sample(probabilities: Tensor) -> Tensor:
    """Return -sum_k p_nk^2 averaged over vectors and parts of (N, M, K): -1 when each choice is sure, 0 for N = 0."""
    count = max(probabilities.shape[0] * probabilities.shape[1], 1)
    return -probabilities.square().sum() / count
