"""Byte-pair encoding of strings of codes: what often stands side by side becomes one token."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

from impl.quantizers.base import positive_integer


class BytePair:
    """Merges of codes 0 to K - 1, learned from strings of them (Sennrich et al., 2016).

    The two neighbours that occur most often become a new token, again and again; of equally frequent pairs the one of
    smaller numbers wins. Token i < K is code i; token K + i is the i-th merge. Encoding applies the merges in the order
    in which they were learned.

    Args:
        num_codes: K.
    """

    def __init__(self, num_codes: int) -> None:
        self.num_codes = positive_integer("num_codes", num_codes)
        self.merges: list[tuple[int, int]] = []
        self.spelled: list[tuple[int, ...]] = [(code,) for code in range(num_codes)]

    def __len__(self) -> int:
        """Tokens, the single codes among them."""
        return len(self.spelled)

    def fit(
        self,
        strings: Sequence[Sequence[int]],
        vocabulary_size: int,
        min_frequency: int = 2,
        max_token_length: int | None = None,
    ) -> Self:
        """Learn merges until there are `vocabulary_size` tokens, or no pair is left.

        Args:
            strings: of codes; no token reaches over the end of one.
            vocabulary_size: at least K.
            min_frequency: a pair that is rarer is not merged.
            max_token_length: in codes; a pair that would be longer is not merged. None for no limit.

        Raises:
            ValueError: a vocabulary smaller than K, or a code outside [0, K).
        """
        if vocabulary_size < self.num_codes:
            raise ValueError(f"vocabulary_size must be at least {self.num_codes}, got {vocabulary_size}.")
        self.merges, self.spelled = [], self.spelled[: self.num_codes]
        words = [self._checked(string) for string in strings]
        longest = max_token_length if max_token_length is not None else max(map(len, words), default=1)
        while len(self) < vocabulary_size:
            counts = Counter(pair for word in words for pair in pairwise(word))
            legal = {
                pair: count
                for pair, count in counts.items()
                if count >= min_frequency and sum(len(self.spelled[part]) for part in pair) <= longest
            }
            if not legal:
                break
            most = max(legal.values())
            best = min(pair for pair, count in legal.items() if count == most)
            words = [_merged(word, best, len(self)) for word in words]
            self.merges.append(best)
            self.spelled.append(self.spelled[best[0]] + self.spelled[best[1]])
        return self

    def encode(self, codes: Sequence[int]) -> list[int]:
        """Return the tokens of a string of codes.

        Raises:
            ValueError: a code outside [0, K).
        """
        word = self._checked(codes)
        for index, pair in enumerate(self.merges):
            word = _merged(word, pair, self.num_codes + index)
        return word

    def decode(self, tokens: Sequence[int]) -> list[int]:
        """Return the codes that tokens stand for.

        Raises:
            ValueError: a token that there is not.
        """
        for token in tokens:
            if not 0 <= token < len(self):
                raise ValueError(f"tokens must be from 0 to {len(self) - 1}, got {token}.")
        return [code for token in tokens for code in self.spelled[token]]

    def first_tokens(self, codes: Sequence[int]) -> list[int]:
        """Return for each position t the first token of the string from t on: what a policy has to choose there."""
        return [self.encode(codes[start:])[0] for start in range(len(codes))]

    def _checked(self, codes: Sequence[int]) -> list[int]:
        word = [int(code) for code in codes]
        for code in word:
            if not 0 <= code < self.num_codes:
                raise ValueError(f"codes must be from 0 to {self.num_codes - 1}, got {code}.")
        return word


def _merged(word: list[int], pair: tuple[int, int], token: int) -> list[int]:
    """Replace each occurrence of a pair, from the left."""
    found, place = [], 0
    while place < len(word):
        if place + 1 < len(word) and (word[place], word[place + 1]) == pair:
            found.append(token)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found
