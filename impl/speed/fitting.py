"""Learning codebooks: fits at equal iterations, with what they leave of held-out vectors."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from impl.benches import mixture
from impl.data.images import patch_vectors
from impl.quantizers.base import Quantizer
from impl.quantizers.lsq import LocalSearchQuantizer
from impl.quantizers.opq import OptimizedProductQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.speed.measuring import Case, Run

#: What a fit returns: vectors (N, D) to what is left of them once coded and decoded.
Coded = Callable[[Tensor], Tensor]
ITERATIONS = 10


def cases(quick: bool) -> Iterator[Case]:
    """Yield the cases, built just before they run; `quick` shrinks the inputs.

    The Gaussian vectors have a known least error at 64 bits, which no honest held-out error can undercut; it is in the
    case's name.
    """
    scale = 32 if quick else 1
    dim, books, bits = 64, 8, 8 if scale == 1 else 4
    variances = torch.arange(1, dim + 1).pow(-1.0)
    draw = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(dim, dim, generator=draw)).Q * variances.sqrt()[:, None]
    train, test = (torch.randn(n // scale, dim, generator=draw) @ turned for n in (20_000, 5_000))
    bound = least_error(variances.tolist(), books * bits) / float(variances.sum())
    for name, make in FITS.items():
        ours, peers = make(train, books, bits)
        title = f"{name} fit, {books} x {2**bits} (bound {bound:.4f})"
        yield Case(title, ours, peers, {"faiss": 2.0 if name == "LSQ" else 0.67}, _left(test), name == "LSQ")
    for name, vectors, held_out, books, bits in (
        ("mixture", mixture("train"), mixture("test"), 4, 4),
        ("patches", *(patch_vectors(split, remove_mean=True) for split in ("train", "test")), 7, 6),
    ):
        ours, peers = _lsq(vectors[: len(vectors) // scale], books, bits)
        title = f"LSQ fit on {name}, {books} x {2**bits}"
        yield Case(title, ours, peers, {"faiss": 2.0}, _left(held_out), heavy=True)


def least_error(variances: list[float], bits: float) -> float:
    """Return the least mean squared error, summed over dimensions, of `bits` bits a Gaussian vector.

    Reverse water-filling: a dimension of variance s gets log2(s / w) / 2 bits if s is above the water level w, and its
    error is min(s, w).

    Args:
        variances: of independent dimensions.
        bits: a vector.
    """
    low, high = 0.0, max(variances)
    for _ in range(200):
        level = (low + high) / 2
        spent = (
            sum(max(0.0, math.log2(variance / level) / 2) for variance in variances) if level else math.inf
        )
        low, high = (level, high) if spent > bits else (low, level)
    return sum(min(variance, high) for variance in variances)


def _left(vectors: Tensor) -> Callable[[Coded], float]:
    spread = (vectors - vectors.mean(dim=0)).square().mean()
    return lambda coded: float((coded(vectors) - vectors).square().mean() / spread)


def _fitted(make: Callable[[], Quantizer], vectors: Tensor, iterations: int | None) -> Coded:
    options = {} if iterations is None else {"iterations": iterations}
    quantizer = make().fit(vectors, **options).eval()
    return lambda given: quantizer.decode(quantizer.encode(given)).detach()


def _theirs(quantizer: object, vectors: Tensor, before: object | None = None) -> Coded:
    """Train a quantizer of faiss, behind a rotation where there is one."""
    turned = vectors.numpy()
    if before is not None:
        before.train(turned)
        turned = before.apply(turned)
    quantizer.train(turned)

    def coded(given: Tensor) -> Tensor:
        array = given.numpy() if before is None else before.apply(given.numpy())
        decoded = quantizer.decode(quantizer.compute_codes(array))
        return torch.from_numpy(decoded if before is None else before.reverse_transform(decoded))

    return coded


def _pq(vectors: Tensor, books: int, bits: int) -> tuple[Run, dict[str, Run]]:
    dim = vectors.shape[1]
    ours = partial(_fitted, lambda: ProductQuantizer(dim, 2**bits, books), vectors, ITERATIONS)
    if not find_spec("faiss"):
        return ours, {}
    import faiss

    def theirs() -> Coded:
        product = faiss.ProductQuantizer(dim, books, bits)
        product.cp.niter = ITERATIONS
        return _theirs(product, vectors)

    return ours, {"faiss": theirs}


def _opq(vectors: Tensor, books: int, bits: int) -> tuple[Run, dict[str, Run]]:
    dim = vectors.shape[1]
    ours = partial(_fitted, lambda: OptimizedProductQuantizer(dim, 2**bits, books), vectors, ITERATIONS)
    if not find_spec("faiss"):
        return ours, {}
    import faiss

    def theirs() -> Coded:
        # As ours: 5 iterations to begin with, then rounds of codes, codewords and rotation.
        rotation, product = faiss.OPQMatrix(dim, books), faiss.ProductQuantizer(dim, books, bits)
        rotation.niter, rotation.niter_pq, rotation.niter_pq_0 = ITERATIONS, 1, 5
        rotation.pq, product.cp.niter = faiss.ProductQuantizer(dim, books, bits), 5
        return _theirs(product, vectors, rotation)

    return ours, {"faiss": theirs}


def _rq(vectors: Tensor, books: int, bits: int) -> tuple[Run, dict[str, Run]]:
    dim = vectors.shape[1]
    ours = partial(_fitted, lambda: ResidualVQ(dim, 2**bits, books), vectors, ITERATIONS)
    if not find_spec("faiss"):
        return ours, {}
    import faiss

    def theirs() -> Coded:
        residual = faiss.ResidualQuantizer(dim, books, bits)
        residual.cp.niter, residual.max_beam_size = ITERATIONS, 1
        residual.train_type = faiss.ResidualQuantizer.Train_default
        return _theirs(residual, vectors)

    return ours, {"faiss": theirs}


def _lsq(vectors: Tensor, books: int, bits: int) -> tuple[Run, dict[str, Run]]:
    dim = vectors.shape[1]
    ours = partial(_fitted, lambda: LocalSearchQuantizer(dim, 2**bits, books), vectors, None)
    if not find_spec("faiss"):
        return ours, {}
    import faiss

    return ours, {"faiss": lambda: _theirs(faiss.LocalSearchQuantizer(dim, books, bits), vectors)}


FITS = {"PQ": _pq, "OPQ": _opq, "RQ": _rq, "LSQ": _lsq}
