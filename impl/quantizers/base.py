"""The contract of a quantizer: latents to codes and back.

`Quantizer` checks what it is given, flattens the leading axes and hands (N, D) vectors to three small
methods that a paper's module writes: `_encode`, `_decode` and `_quantize`. What every quantizer must keep
is in `impl.checks`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """What a quantizer's forward pass returns.

    Attributes:
        latents: (..., D) quantized latents, carrying the method's gradient path.
        codes: (..., M) int64, one column per codebook.
        losses: named scalars, already weighted; training adds their sum.
    """

    latents: Tensor
    codes: Tensor
    losses: dict[str, Tensor]


class Quantizer(nn.Module):
    """Maps latents (..., D) to codes (..., M) and back.

    A subclass sets `dim` and `codebook_sizes` and writes `_encode`, `_decode` and `_quantize`, which see
    float32 or float64 vectors (N, D) with nothing to check. Half-precision latents are quantized in float32
    and returned in their own type, because 8 bits of mantissa cannot tell neighbouring codes apart.

    Masked positions (`mask` False) take no part in losses, statistics or updates, may hold anything, NaN
    included, and come back as zero latents with code 0.
    """

    dim: int
    codebook_sizes: tuple[int, ...]
    #: Laws of `impl.checks` that the method cannot keep, each with the reason.
    exempt_laws: ClassVar[dict[str, str]] = {}
    #: Whether code -1 may stand for "this codebook was not used" and trailing columns may be missing.
    partial_codes: ClassVar[bool] = False

    @classmethod
    def tiny(cls, dim: int = 8) -> Self:
        """Return a small working instance of width `dim`, for the laws and for readers."""
        raise NotImplementedError(f"{cls.__name__} has no tiny() configuration.")

    @property
    def bits(self) -> float:
        """Bits that the codes of one latent vector cost: the sum of log2 K over the codebooks."""
        return sum(math.log2(size) for size in self.codebook_sizes)

    def encode(self, latents: Tensor) -> Tensor:
        """Return the codes (..., M), int64, of latents (..., D).

        Raises:
            TypeError: the latents are not floating point.
            ValueError: their last axis is not D wide, or they hold NaN or Inf.
        """
        vectors = self._finite_vectors(latents)
        with full_precision(vectors), torch.no_grad():
            codes = self._encode(vectors)
        return codes.reshape(*latents.shape[:-1], len(self.codebook_sizes))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents (..., D) that codes (..., M) stand for.

        Raises:
            TypeError: the codes are not integers.
            ValueError: their last axis is not M wide, or a code is outside [0, K_m).
        """
        self._check_codes(codes)
        with full_precision(codes):
            vectors = self._decode(codes.reshape(math.prod(codes.shape[:-1]), codes.shape[-1]).long())
        return vectors.reshape(*codes.shape[:-1], self.dim)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize latents (..., D); in training mode also update whatever the method learns without
        gradients.

        Args:
            latents: (..., D) floating point.
            mask: (...) bool, True where the position counts; None when all do.

        Raises:
            TypeError: latents that are not floating point, or a mask that is not bool.
            ValueError: a wrong width, a mask of another shape, NaN or Inf at positions that count.
        """
        vectors = self._vectors(latents)
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"mask must be bool (True where a position counts), got {mask.dtype}.")
            if mask.shape != latents.shape[:-1]:
                shapes = f"{tuple(latents.shape[:-1])}, got {tuple(mask.shape)}"
                raise ValueError(f"mask must have the latents' shape without the last axis, {shapes}.")
            every, vectors = vectors, vectors[mask.reshape(-1)]
        self._check_finite(vectors)
        with full_precision(vectors):
            quantized, codes, losses = self._quantize(vectors)
        if mask is not None:
            quantized = torch.zeros_like(every).masked_scatter(mask.reshape(-1, 1), quantized)
            codes = codes.new_zeros(len(every), codes.shape[-1]).masked_scatter(mask.reshape(-1, 1), codes)
        shape = latents.shape[:-1]
        return Quantized(
            quantized.reshape(latents.shape).to(latents.dtype), codes.reshape(*shape, codes.shape[-1]), losses
        )

    def _encode(self, vectors: Tensor) -> Tensor:
        raise NotImplementedError

    def _decode(self, codes: Tensor) -> Tensor:
        raise NotImplementedError

    def _quantize(self, vectors: Tensor) -> Quantized:
        raise NotImplementedError

    def _vectors(self, latents: Tensor) -> Tensor:
        """Flatten (..., D) latents to (N, D), at least float32."""
        if not latents.is_floating_point():
            raise TypeError(f"latents must be floating point, got {latents.dtype}.")
        if latents.ndim == 0 or latents.shape[-1] != self.dim:
            raise ValueError(
                f"latents must be {self.dim} wide on the last axis, got shape {tuple(latents.shape)}."
            )
        # The number of rows is written out: -1 is ambiguous for an empty batch.
        vectors = latents.reshape(math.prod(latents.shape[:-1]), self.dim)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))

    def _finite_vectors(self, latents: Tensor) -> Tensor:
        """The same, refusing NaN and Inf."""
        vectors = self._vectors(latents)
        self._check_finite(vectors)
        return vectors

    def _training_vectors(self, vectors: Tensor) -> Tensor:
        """The same, refusing none at all: what `fit` begins with."""
        vectors = self._finite_vectors(vectors)
        if len(vectors) == 0:
            raise ValueError("fit needs at least one vector, got an empty batch.")
        return vectors

    @staticmethod
    def _check_finite(vectors: Tensor) -> None:
        # The check reads a value back from the device, which a compiled graph cannot do.
        if torch.compiler.is_compiling():
            return
        # One NaN or Inf makes the sum no number, in a quarter of the time; a sum may also overflow by itself.
        if bool(torch.isfinite(vectors.detach().sum())) or bool(torch.isfinite(vectors).all()):
            return
        bad = int((~torch.isfinite(vectors)).any(dim=-1).sum())
        raise ValueError(f"latents must be finite, got NaN or Inf in {bad} of {len(vectors)} vectors.")

    def _check_codes(self, codes: Tensor) -> None:
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise TypeError(f"codes must be integers, got {codes.dtype}.")
        columns = len(self.codebook_sizes)
        given = codes.shape[-1] if codes.ndim else 0
        if given != columns and not (self.partial_codes and 0 < given < columns):
            legal = f"1 to {columns}" if self.partial_codes else f"{columns}"
            raise ValueError(
                f"codes must have {legal} columns on the last axis, got shape {tuple(codes.shape)}."
            )
        if torch.compiler.is_compiling() or codes.numel() == 0:
            return
        flat = codes.reshape(-1, given).long()  # an unsigned type has no -1 to compare with
        sizes = torch.tensor(self.codebook_sizes[:given], device=codes.device)
        lowest = -1 if self.partial_codes else 0
        wrong = (flat < lowest) | (flat >= sizes)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            legal = f"{lowest} <= code < {self.codebook_sizes[column]}"
            raise ValueError(f"codes of codebook {column} must keep {legal}, got {int(flat[row, column])}.")


@contextmanager
def full_precision(tensor: Tensor) -> Iterator[None]:
    """Switch autocast off on the tensor's device: distances and counts need float32."""
    with torch.autocast(tensor.device.type, enabled=False):
        yield


def positive_integer(name: str, value: int, least: int = 1) -> int:
    """Return `value` if it is an integer of at least `least`, or raise an error that names the argument.

    Raises:
        TypeError: not an integer.
        ValueError: smaller than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return value


def mean_square(difference: Tensor) -> Tensor:
    """Mean of the squares over all vectors and dimensions; exactly 0 for an empty batch (the mean would be
    NaN).
    """
    return difference.square().sum() / max(difference.numel(), 1)
