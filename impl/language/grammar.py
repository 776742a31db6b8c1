"""What may come next: the rules that a document of text and codes keeps, applied while a model writes it."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import LogitsProcessor

from impl.language.vocabulary import BEGIN, END, Vocabulary


class Grammar(LogitsProcessor):
    """Allows ids that continue a legal document, for Hugging Face's `generate` and for any other decoder.

    Outside a modality: text, the marks that open the modalities named here, `end`. Inside: the codes of the level whose
    turn it is, and after exactly so many frames the mark that closes. After `end`: only `end`.

    Args:
        vocabulary: of the ids.
        frames: modality -> frames of one piece; those not named cannot be opened.
        text: whether text may be written.
    """

    def __init__(self, vocabulary: Vocabulary, frames: Mapping[str, int], text: bool = True) -> None:
        self.vocabulary, self.frames, self.text = vocabulary, dict(frames), text
        wrong = {
            name: count for name, count in self.frames.items() if count < 1 or name not in vocabulary.codes
        }
        if wrong:
            raise ValueError(
                f"frames must give modalities of the vocabulary a number of at least 1, got {wrong}."
            )
        self._openers = {vocabulary.mark(f"<{name}>"): name for name in vocabulary.codes}

    def allowed(self, ids: Tensor) -> Tensor:
        """Return which ids (size,), bool, may follow ids (n,).

        Raises:
            ValueError: a modality was opened that `frames` does not name.
        """
        vocabulary, may = self.vocabulary, torch.zeros(self.vocabulary.size, dtype=torch.bool)
        if len(ids) and int(ids[-1]) == vocabulary.mark(END):
            may[vocabulary.mark(END)] = True
            return may
        name, inside = self._opened(ids)
        if name is None:
            may[vocabulary.span("text").start : vocabulary.span("text").stop] = self.text
            may[[vocabulary.mark(END), *(vocabulary.mark(f"<{modality}>") for modality in self.frames)]] = (
                True
            )
        elif inside == self.frames[name] * len(vocabulary.codes[name]):
            may[vocabulary.mark(f"</{name}>")] = True
        else:
            span = vocabulary.span(name, inside % len(vocabulary.codes[name]))
            may[span.start : span.stop] = True
        return may

    def _opened(self, ids: Tensor) -> tuple[str | None, int]:
        """The modality that is open at the end of ids, and how many codes it has so far."""
        for back, id in enumerate(reversed(ids.tolist())):
            if id in self._openers:
                name = self._openers[id]
                if name not in self.frames:
                    raise ValueError(f"frames must name {name!r}, which the ids have opened.")
                return name, back
            # A mark that closes, or the begin, stands nearer than one that opens: nothing is open.
            if (
                self.vocabulary.text_size
                <= id
                < self.vocabulary.text_size + 2 + 2 * len(self.vocabulary.codes)
            ):
                return None, 0
        return None, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Forbid what may not follow: (B, n) ids and (B, size) logits to logits with -inf."""
        may = torch.stack([self.allowed(row) for row in input_ids]).to(scores.device)
        return scores.masked_fill(~may, -torch.inf)


def is_legal(ids: Tensor, grammar: Grammar) -> bool:
    """Return whether a whole document of ids (n,), from `begin` on, keeps the grammar."""
    if not len(ids) or int(ids[0]) != grammar.vocabulary.mark(BEGIN):
        return False
    return all(bool(grammar.allowed(ids[:place])[ids[place]]) for place in range(1, len(ids)))
