"""The catalog's own titles as a text-classification task: what kind of signal is a work about?"""

import re
from typing import NamedTuple

import torch
from torch import Tensor

import survey

CLASSES = {"sound": {"audio", "speech", "music"}, "pictures": {"image", "video"}, "other": set()}
"""Names of the classes, in order of precedence, with the modalities that make a work one of theirs."""


class Titles(NamedTuple):
    """Titles as words.

    Attributes:
        words: (N, L) int64, numbers of the words, from 1; 0 where a title has ended.
        labels: (N,) int64, the class.
        vocabulary: what the numbers stand for; "" at 0.
    """

    words: Tensor
    labels: Tensor
    vocabulary: tuple[str, ...]


def titles() -> Titles:
    """Load the titles of all works in the catalog, in the order of their ids."""
    works = sorted(survey.load().works, key=lambda work: work.id)
    split = [re.findall(r"[a-z0-9]+", work.title.lower()) for work in works]
    vocabulary = ("", *sorted({word for title in split for word in title}))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    words = torch.zeros(len(works), max(map(len, split)), dtype=torch.int64)
    for row, title in zip(words, split, strict=True):
        row[: len(title)] = torch.tensor([numbers[word] for word in title])
    labels = [_label(set(work.modalities)) for work in works]
    return Titles(words, torch.tensor(labels), vocabulary)


def _label(modalities: set[str]) -> int:
    matches = [number for number, of in enumerate(CLASSES.values()) if of & modalities]
    return matches[0] if matches else len(CLASSES) - 1
