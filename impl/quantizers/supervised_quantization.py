"""Supervised quantization: composite codes in a space that is learned to tell classes apart.

Parts: sums of codewords (`additive`), a start at principal axes (`transforms`) and product quantization (`pq`); what is
new is that map, codewords, codes and a linear classifier are learned in turns for one objective.
"""

from typing import ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from impl.quantizers.additive import AdditiveCodebooks, sum_codewords
from impl.quantizers.base import Quantized, mean_square, positive_integer
from impl.quantizers.beam import greedy_codes
from impl.quantizers.gradients import straight_through
from impl.quantizers.labels import check_labels
from impl.quantizers.lookup import BLOCK_SCORES
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.product import part_width
from impl.quantizers.transforms import eigenvalue_allocation, principal_axes


class SupervisedQuantizer(AdditiveCodebooks):
    """Supervised quantization, SQ (wang2016supervised).

    A linear map P takes the vector to a space in which it is quantized as a sum s of M codewords. The map, the
    codewords, the codes and a linear classifier W minimise, over vectors x with one-hot labels y,

        mean (|y - s W|^2 + gamma |s - x P|^2 + mu (cross - epsilon)^2) + lambda (|W|^2 + |P|^2) :

    s tells the class, stays near x P, and has a cross term, sum_{m != l} <c_m, c_l>, that is nearly the same for all
    vectors, so that distances to a query q can be compared by sums of |q - c_m|^2 alone. `fit` takes the unknowns in
    turn: W, P and epsilon in closed form, codewords by L-BFGS, codes by coordinate descent. It starts at the principal
    axes and at product quantization, where every cross term is 0.

    New vectors are encoded without labels. To search, hand `transform(queries)` to `impl.search`. The space has as many
    dimensions as the vectors, which are centred and scaled to a mean squared length of 1 first.

    Args:
        dim: D.
        codebook_size: K.
        num_codebooks: M, a divisor of D.
        num_classes: of the labels.
        quantization_weight: gamma.
        cross_weight: mu.
        ridge: lambda.
        sweeps: over the codebooks in a coordinate descent.
        commitment_weight: beta, inside an autoencoder.

    Raises:
        TypeError, ValueError: sizes that are not positive integers, or M does not divide D.
    """

    exempt_laws: ClassVar[dict[str, str]] = {
        "fit_reduces_the_error": "fit needs labels, and codes tell classes apart instead of approximating the input"
    }
    center: Tensor
    projection: Tensor
    classifier: Tensor
    cross: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_codebooks: int,
        num_classes: int,
        quantization_weight: float = 1.0,
        cross_weight: float = 10.0,
        ridge: float = 1e-3,
        sweeps: int = 3,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(dim, codebook_size, num_codebooks, commitment_weight)
        part_width(dim, num_codebooks)
        self.num_classes = positive_integer("num_classes", num_classes)
        self.quantization_weight, self.cross_weight = quantization_weight, cross_weight
        self.ridge, self.sweeps = ridge, positive_integer("sweeps", sweeps)
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("projection", torch.eye(dim))  # P, the scale of the vectors included
        self.register_buffer("classifier", torch.zeros(dim, num_classes))
        self.register_buffer("cross", torch.zeros(()))  # epsilon

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return two codebooks of 8 codewords, for three classes."""
        return cls(dim, 8, 2, num_classes=3)

    def transform(self, vectors: Tensor) -> Tensor:
        """Return vectors (..., D) in the space of the codewords: what a query is compared by."""
        return (vectors - self.center.to(vectors)) @ self.projection.to(vectors)

    def classify(self, codes: Tensor) -> Tensor:
        """Return the scores (..., classes) of what codes (..., M) stand for."""
        return self.decode(codes) @ self.classifier

    @torch.no_grad()
    def fit(self, vectors: Tensor, labels: Tensor, iterations: int = 10, seed: int = 0) -> Self:
        """Learn from vectors (N, D) and their labels (N,), int64 in [0, classes).

        Args:
            vectors: (N, D).
            labels: (N,).
            iterations: rounds over all unknowns.
            seed: of the k-means at the start.

        Raises:
            ValueError: a wrong width, NaN, Inf, no vectors, or labels that do not fit.
        """
        vectors = self._training_vectors(vectors)
        check_labels(labels, len(vectors), self.num_classes)
        goals = F.one_hot(labels, self.num_classes).to(vectors)
        self.center.copy_(vectors.mean(dim=0))
        inputs = vectors - self.center
        scale = inputs.square().sum(dim=1).mean().clamp(min=1e-12).rsqrt()
        inputs = inputs * scale
        unknowns = self.start(inputs, goals, seed)
        for _ in range(iterations):
            unknowns = self.round(inputs, goals, unknowns)
        self.codebooks.copy_(unknowns.codebooks)
        self.projection.copy_(scale * unknowns.projection)
        self.classifier.copy_(unknowns.classifier)
        self.cross.copy_(unknowns.cross)
        return self

    def start(self, inputs: Tensor, goals: Tensor, seed: int) -> "Unknowns":
        """Return the unknowns of the first round, from inputs (N, D) and one-hot goals (N, classes)."""
        _, axes, variances = principal_axes(inputs)
        projection = axes[:, eigenvalue_allocation(variances, self.num_codebooks)]
        product = ProductQuantizer(self.dim, self.codebook_size, self.num_codebooks).to(inputs)
        codes = product.fit(inputs @ projection, seed=seed).encode(inputs @ projection)
        codebooks, tables = inputs.new_zeros(self.codebooks.shape), product.codeword_tables()
        for codebook, table, first in zip(codebooks, tables.codewords, tables.starts, strict=True):
            codebook[:, first : first + table.shape[1]] = table
        classifier = ridge_regression(sum_codewords(codebooks, codes), goals, self.ridge)
        return Unknowns(codebooks, codes, projection, classifier, inputs.new_zeros(()))

    def round(self, inputs: Tensor, goals: Tensor, unknowns: "Unknowns") -> "Unknowns":
        """Return the unknowns after each was set once to what is best, or better, for the others."""
        codebooks, codes = unknowns.codebooks, unknowns.codes
        sums = sum_codewords(codebooks, codes)
        unknowns = unknowns._replace(
            classifier=ridge_regression(sums, goals, self.ridge),
            projection=ridge_regression(inputs, sums, self.ridge / self.quantization_weight),
            cross=cross_terms(codebooks, codes).mean(),
        )
        unknowns = unknowns._replace(codebooks=self._better_codebooks(inputs, goals, unknowns))
        classifier = unknowns.classifier
        curvature = classifier @ classifier.T + self.quantization_weight * torch.eye(self.dim).to(inputs)
        targets = goals @ classifier.T + self.quantization_weight * inputs @ unknowns.projection
        codes = self._descend(codes, unknowns.codebooks, curvature, targets, unknowns.cross)
        return unknowns._replace(codes=codes)

    def objective(self, inputs: Tensor, goals: Tensor, unknowns: "Unknowns") -> Tensor:
        """Return what `fit` minimises, for inputs (N, D) and one-hot goals (N, classes)."""
        codebooks, codes, projection, classifier, cross = unknowns
        sums = sum_codewords(codebooks, codes)
        label = (goals - sums @ classifier).square().sum(dim=1)
        quantization = (sums - inputs @ projection).square().sum(dim=1)
        constant = (cross_terms(codebooks, codes) - cross).square()
        costs = label + self.quantization_weight * quantization + self.cross_weight * constant
        return costs.mean() + self.ridge * (classifier.square().sum() + projection.square().sum())

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (N, M) of vectors (N, D): greedy ones, then coordinate descent, without labels."""
        projected, codebooks = self.transform(vectors), self.codebooks.detach().to(vectors.dtype)
        curvature = self.quantization_weight * torch.eye(self.dim).to(vectors)
        targets = self.quantization_weight * projected
        return self._descend(greedy_codes(projected, codebooks), codebooks, curvature, targets, self.cross)

    def _better_codebooks(self, inputs: Tensor, goals: Tensor, unknowns: "Unknowns") -> Tensor:
        table = unknowns.codebooks.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([table], max_iter=10, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = self.objective(inputs, goals, unknowns._replace(codebooks=table))
            value.backward()
            return value

        with torch.enable_grad():
            before = optimizer.step(closure)
        after = self.objective(inputs, goals, unknowns._replace(codebooks=table.detach()))
        return table.detach() if bool(after <= before) else unknowns.codebooks

    def _descend(
        self, codes: Tensor, codebooks: Tensor, curvature: Tensor, targets: Tensor, cross: Tensor
    ) -> Tensor:
        """Lower s A s - 2 <s, t> + mu (cross term - epsilon)^2 of each vector, one codebook at a time, in blocks."""
        rows = max(1, BLOCK_SCORES // (self.codebook_size + self.dim))
        pairs = zip(codes.split(rows), targets.split(rows), strict=True)
        return torch.cat([self._descend_block(*pair, codebooks, curvature, cross) for pair in pairs])

    def _descend_block(
        self, codes: Tensor, targets: Tensor, codebooks: Tensor, curvature: Tensor, cross: Tensor
    ) -> Tensor:
        columns = list(codes.unbind(1))
        sums, norms = sum_codewords(codebooks, codes), codebooks.square().sum(dim=2)
        for _ in range(self.sweeps):
            for index, codebook in enumerate(codebooks):
                rest = sums - codebook[columns[index]]
                others = sum(norms[m][columns[m]] for m in range(len(columns)) if m != index)
                # Of rest + c the cross term is that of the rest, |rest|^2 - sum |c_m|^2, plus 2 <rest, c>.
                crossed = (rest.square().sum(dim=1) - others)[:, None] + 2 * rest @ codebook.T
                scores = 2 * (rest @ curvature - targets) @ codebook.T + (
                    (codebook @ curvature) * codebook
                ).sum(1)
                columns[index] = (scores + self.cross_weight * (crossed - cross).square()).argmin(dim=1)
                sums = rest + codebook[columns[index]]
        return torch.stack(columns, dim=1)

    def _quantize(self, vectors: Tensor) -> Quantized:
        with torch.no_grad():
            codes = self._encode(vectors.detach())
        projected, total = self.transform(vectors), self._decode(codes).to(vectors.dtype)
        losses = {
            "commitment": self.commitment_weight * mean_square(projected - total.detach()),
            "codebook": mean_square(projected.detach() - total),
        }
        return Quantized(straight_through(projected, total), codes, losses)


class Unknowns(NamedTuple):
    """What `SupervisedQuantizer.fit` learns.

    Attributes:
        codebooks: (M, K, D).
        codes: (N, M).
        projection: P, (D, D).
        classifier: W, (D, classes).
        cross: epsilon, a scalar.
    """

    codebooks: Tensor
    codes: Tensor
    projection: Tensor
    classifier: Tensor
    cross: Tensor


def ridge_regression(inputs: Tensor, outputs: Tensor, ridge: float) -> Tensor:
    """Return B (D, E) that minimises mean |y - x B|^2 + ridge |B|^2 over inputs (N, D) and outputs (N, E)."""
    wide, count = inputs.double(), len(inputs)
    gram = wide.T @ wide / count + ridge * torch.eye(inputs.shape[1]).to(wide)
    return torch.linalg.solve(gram, wide.T @ outputs.double() / count).to(inputs)


def cross_terms(codebooks: Tensor, codes: Tensor) -> Tensor:
    """Return sum_{m != l} <c_m, c_l> (N,) over the codewords of codes (N, M) from codebooks (M, K, D)."""
    own = sum(
        codebook[column].square().sum(dim=1) for codebook, column in zip(codebooks, codes.T, strict=True)
    )
    return sum_codewords(codebooks, codes).square().sum(dim=1) - own
