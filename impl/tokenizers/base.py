"""The contract of a tokenizer: samples to codes and back."""

from typing import NamedTuple, Self

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


class Tokenizer(nn.Module):
    """Maps samples to codes and back; encoder, quantizer and decoder trained together."""

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small working instance."""
        raise NotImplementedError(f"{cls.__name__} has no tiny() configuration.")

    def encode(self, samples: Tensor) -> Tensor:
        """Return the codes (B, ..., M) of samples."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Return the samples that codes (B, ..., M) stand for."""
        raise NotImplementedError

    def forward(self, samples: Tensor) -> Tokenized:
        """Return reconstruction, codes and losses of samples."""
        raise NotImplementedError
