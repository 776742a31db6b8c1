"""Documents of text and codes as sequences of ids, with the table from which labels, masks and positions follow.

A document is a list of segments; in ids it is  begin, segment, ..., end,  where text is written as it is and codes
stand between `<modality>` and `</modality>`. Several documents may share a row: none sees another, and each counts its
positions from zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from impl.language.vocabulary import BEGIN, END, Vocabulary

#: The label that cross-entropy leaves out.
IGNORED = -100


class Segment(NamedTuple):
    """A stretch of one kind.

    Attributes:
        kind: "text" or a modality.
        content: ids of text (n,), or codes (..., M).
        learned: whether its ids, and the marks around them, are to be predicted.
    """

    kind: str
    content: Tensor
    learned: bool = True


class Span(NamedTuple):
    """Where a segment stands in a row, its marks included: one line of the segment table."""

    document: int
    kind: str
    start: int
    stop: int
    learned: bool


class Packed(NamedTuple):
    """Rows of ids, and what follows from their segment tables.

    Attributes:
        ids: (B, L) int64, filled up with `end`.
        labels: (B, L): the id at each place that is to be predicted, `IGNORED` elsewhere.
        positions: (B, L): counted from zero in each document.
        mask: (B, 1, L, L) bool, True where a place may look: backwards, in its own document.
        table: for each row its spans.
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor
    table: list[list[Span]]

    def batch(self) -> dict[str, Tensor]:
        """Return the tensors by name, as `LanguageModel` takes them."""
        return {"ids": self.ids, "labels": self.labels, "positions": self.positions, "mask": self.mask}


def text(string: str) -> Tensor:
    """Return the bytes (n,) of a string: ids of a vocabulary whose text is bytes."""
    return torch.tensor(list(string.encode("utf-8")), dtype=torch.int64)


def string(ids: Tensor) -> str:
    """Return the string of bytes (n,), with a replacement character for what is no UTF-8."""
    return bytes(ids.tolist()).decode("utf-8", errors="replace")


def document_ids(document: Sequence[Segment], vocabulary: Vocabulary) -> tuple[Tensor, list[Span]]:
    """Return the ids (n,) of one document and its spans, the marks of begin and end as spans of their own."""
    parts, spans, place = [torch.tensor([vocabulary.mark(BEGIN)])], [Span(0, BEGIN, 0, 1, False)], 1
    for kind, content, learned in document:
        ids = _marked(kind, content, vocabulary)
        spans.append(Span(0, kind, place, place + len(ids), learned))
        parts.append(ids)
        place += len(ids)
    parts.append(torch.tensor([vocabulary.mark(END)]))
    spans.append(Span(0, END, place, place + 1, True))
    return torch.cat(parts), spans


def _marked(kind: str, content: Tensor, vocabulary: Vocabulary) -> Tensor:
    if kind == "text":
        if content.numel() and not 0 <= int(content.min()) <= int(content.max()) < vocabulary.text_size:
            raise ValueError(f"ids of text must be in [0, {vocabulary.text_size}), got others.")
        return content
    opened, closed = (torch.tensor([vocabulary.mark(mark)]) for mark in (f"<{kind}>", f"</{kind}>"))
    return torch.cat([opened, vocabulary.ids(kind, content), closed])


def pack(documents: Sequence[Sequence[Segment]], vocabulary: Vocabulary, length: int | None = None) -> Packed:
    """Write documents as rows of ids.

    Args:
        documents: each a list of segments.
        vocabulary: of the ids.
        length: of a row; documents then fill rows one after the other, as many as fit. None: a row for each document.

    Raises:
        ValueError: no document, one longer than a row, or codes and ids that are not the vocabulary's.
    """
    if not documents:
        raise ValueError("documents must hold at least one, got none.")
    written = [document_ids(document, vocabulary) for document in documents]
    longest = max(len(ids) for ids, _ in written)
    if length is not None and longest > length:
        raise ValueError(f"length must be at least that of the longest document, {longest}, got {length}.")
    rows: list[list[int]] = []
    room = 0
    for index, (ids, _) in enumerate(written):
        if len(ids) > room:
            rows.append([])
            room = length or len(ids)
        rows[-1].append(index)
        room -= len(ids)
    return _fill(rows, written, length or longest, vocabulary.mark(END))


def _fill(
    rows: list[list[int]], written: list[tuple[Tensor, list[Span]]], length: int, filler: int
) -> Packed:
    ids = torch.full((len(rows), length), filler)
    labels = torch.full((len(rows), length), IGNORED)
    positions, owner = torch.zeros(len(rows), length, dtype=torch.int64), torch.full((len(rows), length), -1)
    table: list[list[Span]] = []
    for row, members in enumerate(rows):
        table.append([])
        place = 0
        for number, member in enumerate(members):
            content, spans = written[member]
            inside = slice(place, place + len(content))
            ids[row, inside], owner[row, inside] = content, number
            positions[row, inside] = torch.arange(len(content))
            for span in spans:
                moved = span._replace(document=member, start=span.start + place, stop=span.stop + place)
                table[-1].append(moved)
                if span.learned:
                    labels[row, moved.start : moved.stop] = ids[row, moved.start : moved.stop]
            place += len(content)
    backwards = torch.ones(length, length, dtype=torch.bool).tril()
    # Filling sees itself, since a row of a mask with nothing in it has no softmax.
    mask = backwards & (owner[:, :, None] == owner[:, None, :])
    return Packed(ids, labels, positions, mask[:, None], table)


def unpack(ids: Tensor, vocabulary: Vocabulary) -> list[Segment]:
    """Read one document's ids (n,) back as segments: the inverse of `document_ids` on what a model has written.

    Raises:
        ValueError: a modality that is not closed, is opened inside another, or holds ids that are not its own.
    """
    segments: list[Segment] = []
    opened, content = None, []
    for id in ids.tolist():
        kind = vocabulary.kind(id)
        if opened is not None:
            if kind == f"</{opened}>":
                segments.append(
                    Segment(opened, vocabulary.to_codes(opened, torch.tensor(content, dtype=torch.int64)))
                )
                opened, content = None, []
            elif kind == opened:
                content.append(id)
            else:
                raise ValueError(f"ids must close <{opened}> before {kind!r}.")
        elif kind == "text":
            content.append(id)
        else:
            if content:
                segments.append(Segment("text", torch.tensor(content)))
                content = []
            if kind == END:
                break
            if kind.startswith("<") and not kind.startswith("</"):
                opened = kind[1:-1]
            elif kind != BEGIN:
                raise ValueError(f"ids must open a modality before {kind!r}.")
    if opened is not None:
        raise ValueError(f"ids must close <{opened}>, they end inside it.")
    return segments + ([Segment("text", torch.tensor(content))] if content else [])
