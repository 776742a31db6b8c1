"""The contract of a tokenizer: samples to codes and back."""

from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn


class Tokenized(NamedTuple):
    """What a tokenizer's forward pass returns.

    Attributes:
        reconstruction: the decoded sample, shaped like the input.
        codes: int64 (B, ..., M), one column per codebook, the axes between those of the token grid.
        losses: named scalars, already weighted; training adds their sum.
    """

    reconstruction: Tensor
    codes: Tensor
    losses: dict[str, Tensor]


def check_finite(samples: Tensor) -> None:
    """Refuse samples (B, ...) with NaN or Inf: what keeps statistics of its inputs would keep these too.

    Raises:
        ValueError: naming how many samples are concerned.
    """
    bad = int((~torch.isfinite(samples)).flatten(1).any(dim=1).sum()) if samples.ndim > 1 else 0
    if bad:
        raise ValueError(f"samples must be finite, got NaN or Inf in {bad} of {len(samples)}.")


class Tokenizer(nn.Module):
    """Maps samples to codes and back; encoder, quantizer and decoder trained together.

    A tokenizer of files (sound, images) also says its `modality`, `channels` and `hop` (samples, or pixels of a side,
    that one code stands for; sound: `sample_rate` too), and is built from plain numbers, of which `SMALL` is a working
    set: then `codebook train`, `tokenize` and `detokenize` know it.
    """

    #: "sound" or "image" where files can be tokenized, else None.
    modality: ClassVar[str | None] = None
    #: Arguments of a small working instance.
    SMALL: ClassVar[dict[str, Any]] = {}
    #: Laws of `impl.checks_tokenizers` that the method cannot keep, each with the reason.
    exempt_laws: ClassVar[dict[str, str]] = {}

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small working instance; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(**cls.SMALL)

    @classmethod
    def example(cls, seed: int = 0, count: int = 2) -> Tensor:
        """Return a batch of `count` samples that `tiny` takes."""
        raise NotImplementedError(f"{cls.__name__} has no example().")

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each column of the codes: those of the part called `quantizer`, unless a method has more of them."""
        return self.quantizer.codebook_sizes

    def encode(self, samples: Tensor) -> Tensor:
        """Return the codes (B, ..., M) of samples."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Return the samples that codes (B, ..., M) stand for."""
        raise NotImplementedError

    def forward(self, samples: Tensor) -> Tokenized:
        """Return reconstruction, codes and losses of samples."""
        raise NotImplementedError
