"""Digits seen, written and spoken: each sample in three modalities, so that any can be asked for given any other."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from impl.data.captioned import DIGITS
from impl.data.images import digit_labels, digits
from impl.data.sound import PHONES, speech

#: The two vowels that say each digit, from zero on; made up, as is the language.
SAID = ("i o", "a u", "u e", "o a", "er i", "a i", "e o", "u er", "i a", "o er")
SECONDS = 0.24


class ThreeWays(NamedTuple):
    """Images (N, 1, 8, 8), names, waveforms (N, 1, 1920) at 8 kHz, the digits (N,) and voices (N,) in them."""

    images: Tensor
    names: list[str]
    waveforms: Tensor
    digits: Tensor
    speakers: Tensor

    def samples(self) -> dict[str, Tensor | list[str]]:
        """Return the samples by modality: image, text, speech."""
        return {"image": self.images, "text": self.names, "speech": self.waveforms}


def said(digits: Tensor) -> Tensor:
    """Return the phones (N, 2) that say digits (N,)."""
    phones = torch.tensor([[PHONES.index(vowel) for vowel in pair.split()] for pair in SAID])
    return phones[digits]


def three_ways(split: str = "train") -> ThreeWays:
    """Give each handwritten digit its English name, and an utterance of two vowels by one of four voices.

    1,400 samples for training, 397 for testing; utterances of one split are not in the other. Several images of a digit
    may share an utterance.

    Raises:
        ValueError: `split` is neither "train" nor "test".
    """
    images, labels = digits(split), digit_labels(split)
    return ThreeWays(images, [DIGITS[digit] for digit in labels], *_spoken(split, labels))


def _spoken(split: str, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    waveforms, speakers, chosen = _utterances(split)
    index = torch.empty_like(labels)
    for digit, own in enumerate(chosen):
        places = (labels == digit).nonzero()[:, 0]
        index[places] = own[torch.arange(len(places)) % len(own)]
    return waveforms[index], labels, speakers[index]


@lru_cache(maxsize=2)
def _utterances(split: str) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Utterances, their voices, and for each digit the numbers of those that say it."""
    spoken = speech(split, 1500, SECONDS, phones=2, speakers=4)
    matches = [(spoken.phones == phones).all(dim=1).nonzero()[:, 0] for phones in said(torch.arange(10))]
    return spoken.waveforms, spoken.speakers, matches
