"""Who took what, in which order: texts of items and sequences of users, released, or simulated on real texts.

The items are texts: the catalog's works, books, films. Sequences are recorded, or simulated by a reader who mostly goes
on to something like what was read last; then the probability of what comes last is known, and with it the best recall
that any recommender can have.
"""

import csv
import gzip
import io
import os
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import survey
from impl.data.files import locate

#: What a place of a history holds that has no item.
PADDING = -1
#: Shares of the ways in which a simulated user comes to the next item: like the last, like the first, popular.
LIKE_LAST, LIKE_FIRST, POPULAR = 0.75, 0.15, 0.10


class Interactions(NamedTuple):
    """Items and the users who took them.

    Attributes:
        texts: of the N items; their places are the items' numbers.
        sequences: for each user the items (n,) in the order of time, at least three. The last one is for testing, the
            one before for validation.
        chances: (users, N), the probability of every item to be a user's last, where the sequences are simulated.
    """

    texts: tuple[str, ...]
    sequences: tuple[Tensor, ...]
    chances: Tensor | None = None

    def examples(self, split: str = "train", length: int = 20) -> TensorDataset:
        """Return histories (n, length), users (n,) and the items (n,) that come next.

        Training has an example for each item of a sequence but the first and the last two; "valid" and "test" one for
        each user. A history starts at the left, holds the latest `length` items, and is filled with `PADDING`.

        Raises:
            ValueError: an unknown split.
        """
        if split not in ("train", "valid", "test"):
            raise ValueError(f"split must be train, valid or test, got {split!r}.")
        histories, users, targets = [], [], []
        for user, items in enumerate(self.sequences):
            ends = {"train": range(1, len(items) - 2), "valid": [len(items) - 2], "test": [len(items) - 1]}
            for end in ends[split]:
                latest = items[max(0, end - length) : end]
                histories.append(torch.cat([latest, latest.new_full((length - len(latest),), PADDING)]))
                users.append(user)
                targets.append(items[end])
        return TensorDataset(torch.stack(histories), torch.tensor(users), torch.stack(targets))


def catalog_texts() -> tuple[str, ...]:
    """Return the text of each work in the catalog, by id: title, sections, techniques, modalities and tasks."""
    catalog = survey.load()
    names = {section.number: section.title for section in catalog.sections}
    works = sorted(catalog.works, key=lambda work: work.id)
    facets = (" ".join([*work.techniques, *work.modalities, *work.tasks]) for work in works)
    return tuple(
        ". ".join([work.title, *(names[number] for number in work.sections), words])
        for work, words in zip(works, facets, strict=True)
    )


def simulated(
    texts: tuple[str, ...],
    vectors: Tensor,
    users: int = 700,
    length: int = 9,
    temperature: float = 0.1,
    seed: int = 0,
) -> Interactions:
    """Simulate users who read items one after another, none twice.

    The next item is like the last with probability 0.75, like the user's first with 0.15, and popular with 0.10. An
    item is like another in proportion to exp(cosine / temperature); popularity follows Zipf's law over a random order.
    The default numbers give as many events an item on 390 items as Amazon's Beauty set has (16) with as many events
    a user (9).

    Args:
        texts: of N items.
        vectors: (N, D) of length 1, what the items are about.
        users: how many.
        length: of each sequence, from 3 to N.
        temperature: of likeness; the lower, the easier the next item is to guess.
        seed: of everything random.

    Raises:
        ValueError: a length outside 3 to N.
    """
    count = len(texts)
    if not 3 <= length <= count:
        raise ValueError(f"length must be from 3 to the number of items, {count}, got {length}.")
    generator = torch.Generator().manual_seed(seed)
    alike = (vectors.double() @ vectors.double().T / temperature).fill_diagonal_(-torch.inf).softmax(dim=1)
    ranks = torch.randperm(count, generator=generator).double() + 1
    popular = (1 / ranks) / (1 / ranks).sum()
    first = torch.multinomial(popular, users, replacement=True, generator=generator)
    taken = [first]
    for _ in range(length - 1):
        chances = LIKE_LAST * alike[taken[-1]] + LIKE_FIRST * alike[first] + POPULAR * popular
        chances.scatter_(1, torch.stack(taken, dim=1), 0.0)
        chances /= chances.sum(dim=1, keepdim=True)
        taken.append(torch.multinomial(chances, 1, generator=generator)[:, 0])
    return Interactions(tuple(texts), torch.stack(taken, dim=1).unbind(), chances.float())


def movietweetings(least: int = 5, root: str | os.PathLike | None = None) -> Interactions:
    """Load MovieTweetings: films that people rated on Twitter, in the order of time.

    The text of a film is its title and year, and its genres.

    Args:
        least: events that every user and every film has; others are left out, again and again.
        root: the data folder, or the data set's own; by default the folder that `CODEBOOK_DATA` names.

    Raises:
        FileNotFoundError: the files are not there.
        ValueError: a line has too few fields.
    """
    folders = ("movietweetings-100k", "movietweetings")
    films, ratings = (
        [_fields(path, line, fields) for line in _read(path).split("\n") if line]
        for path, fields in (
            (locate([f"{name}.dat.gz", f"{name}.dat"], folders, root), fields)
            for name, fields in (("movies", 3), ("ratings", 4))
        )
    )
    texts = {film: f"{title}. {genres.replace('|', ' ')}" for film, title, genres in films}
    events = sorted((int(time), user, film) for user, film, _, time in ratings)
    return _core([(user, film) for _, user, film in events], texts, least)


def goodbooks(least: int = 5, root: str | os.PathLike | None = None) -> Interactions:
    """Load goodbooks-10k: books, and the ratings of readers in the released order, where `ratings.csv` is there too.

    The text of a book is its title and its authors. Without `ratings.csv` there are no sequences; `simulated` makes
    some. Arguments and errors as of `movietweetings`.
    """
    folders = ("goodbooks", "goodbooks-10k")
    path = locate(["books.csv.gz", "books.csv"], folders, root)
    books = list(csv.DictReader(io.StringIO(_read(path))))
    texts = {book["book_id"]: f"{book['title']}. {book['authors']}" for book in books}
    try:
        path = locate(["ratings.csv.gz", "ratings.csv"], folders, root)
    except FileNotFoundError:
        return Interactions(tuple(texts.values()), ())
    ratings = csv.DictReader(io.StringIO(_read(path)))
    return _core([(rating["user_id"], rating["book_id"]) for rating in ratings], texts, least)


def _core(events: list[tuple[str, str]], texts: dict[str, str], least: int) -> Interactions:
    """Keep what has enough events (user, item), given in the order of time, and number it."""
    while True:
        users, items = ({}, {})
        for user, item in events:
            users[user], items[item] = users.get(user, 0) + 1, items.get(item, 0) + 1
        kept = [(u, i) for u, i in events if users[u] >= least and items[i] >= least]
        if len(kept) == len(events):
            break
        events = kept
    numbers = {item: number for number, item in enumerate(sorted(items))}
    sequences: dict[str, list[int]] = {}
    for user, item in events:
        sequences.setdefault(user, []).append(numbers[item])
    return Interactions(
        tuple(texts[item] for item in numbers),
        tuple(torch.tensor(sequence) for sequence in sequences.values() if len(sequence) >= 3),
    )


def _read(path: os.PathLike) -> str:
    with gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb") as file:
        return file.read().decode("utf-8")


def _fields(path: os.PathLike, line: str, count: int) -> list[str]:
    fields = line.rstrip("\r").split("::")
    if len(fields) != count:
        raise ValueError(f"{path} must have {count} fields a line, separated by '::', got {line!r}.")
    return fields
