"""One space of ids for text, marks and the codes of every modality. Offsets live here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

BEGIN, END = "begin", "end"


@dataclass(frozen=True)
class Vocabulary:
    """Ids in this order: text, marks, then for each modality the codes of its codebooks.

    Text keeps the ids that its own tokenizer gives, so a pretrained model keeps what it knows. The marks are `begin`
    and `end` of a document, and for each modality `<name>` and `</name>`.

    Args:
        text_size: ids of text; 256 for bytes, 0 where nothing is text.
        codes: modality -> sizes (K_1, ..., K_M) of its codebooks.

    Raises:
        ValueError: a negative number of ids of text, a codebook size below 1, or a modality called "text".
    """

    text_size: int
    codes: Mapping[str, tuple[int, ...]]
    _marks: dict[str, int] = field(init=False, repr=False)
    _starts: dict[str, tuple[int, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if "text" in self.codes:
            raise ValueError('codes must not name "text": text has the first ids.')
        if self.text_size < 0 or any(
            size < 1 for sizes in self.codes.values() for size in (*sizes, len(sizes))
        ):
            raise ValueError(
                "sizes must be at least 1, that of text at least 0, "
                f"got text {self.text_size} and {dict(self.codes)}."
            )
        names = [BEGIN, END, *(mark for name in self.codes for mark in (f"<{name}>", f"</{name}>"))]
        marks = {name: self.text_size + index for index, name in enumerate(names)}
        first, starts = self.text_size + len(names), {}
        for name, sizes in self.codes.items():
            starts[name] = tuple(first + sum(sizes[:level]) for level in range(len(sizes)))
            first += sum(sizes)
        object.__setattr__(self, "_marks", marks)
        object.__setattr__(self, "_starts", starts)

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.text_size + len(self._marks) + sum(sum(sizes) for sizes in self.codes.values())

    def mark(self, name: str) -> int:
        """Return the id of `begin`, `end`, `<modality>` or `</modality>`.

        Raises:
            KeyError: there is no such mark.
        """
        if name not in self._marks:
            raise KeyError(f"mark must be one of {', '.join(self._marks)}, got {name!r}")
        return self._marks[name]

    def span(self, modality: str, level: int = 0) -> range:
        """Return the ids of one codebook of a modality, or of text."""
        if modality == "text":
            return range(self.text_size)
        start = self._start(modality)[level]
        return range(start, start + self.codes[modality][level])

    def ids(self, modality: str, codes: Tensor) -> Tensor:
        """Return the ids (T * M,) of codes (..., M): frame after frame, level after level.

        Raises:
            ValueError: another number of columns, or a code out of range.
        """
        sizes = self.codes[self._known(modality)]
        if codes.ndim == 0 or codes.shape[-1] != len(sizes):
            raise ValueError(
                f"codes of {modality} must have {len(sizes)} columns, got shape {tuple(codes.shape)}."
            )
        limits = torch.tensor(sizes, device=codes.device)
        if codes.numel() and bool(((codes < 0) | (codes >= limits)).any()):
            raise ValueError(f"codes of {modality} must be below {sizes} and not negative, got others.")
        return (codes + torch.tensor(self._starts[modality], device=codes.device)).reshape(-1)

    def to_codes(self, modality: str, ids: Tensor) -> Tensor:
        """Return the codes (T, M) of ids (T * M,): the inverse of `ids`.

        Raises:
            ValueError: an incomplete frame, or an id that is not of its level.
        """
        sizes = self.codes[self._known(modality)]
        if ids.ndim != 1 or len(ids) % len(sizes):
            raise ValueError(
                f"ids of {modality} must be whole frames of {len(sizes)}, got shape {tuple(ids.shape)}."
            )
        codes = ids.reshape(-1, len(sizes)) - torch.tensor(self._starts[modality], device=ids.device)
        if bool(((codes < 0) | (codes >= torch.tensor(sizes, device=ids.device))).any()):
            raise ValueError(f"ids of {modality} must be of the level at their place, got others.")
        return codes

    def kind(self, id: int) -> str:
        """Return what an id is: "text", the name of a mark, or a modality.

        Raises:
            ValueError: no id of this vocabulary.
        """
        if 0 <= id < self.text_size:
            return "text"
        for name, mark in self._marks.items():
            if id == mark:
                return name
        for name in self.codes:
            if any(id in self.span(name, level) for level in range(len(self.codes[name]))):
                return name
        raise ValueError(f"id must be in [0, {self.size}), got {id}.")

    def _start(self, modality: str) -> tuple[int, ...]:
        return self._starts[self._known(modality)]

    def _known(self, modality: str) -> str:
        if modality not in self.codes:
            raise KeyError(f"modality must be one of {', '.join(self.codes)}, got {modality!r}")
        return modality


@torch.no_grad()
def extend(model: nn.Module, vocabulary: Vocabulary) -> nn.Module:
    """Give a pretrained language model of Hugging Face the rows of a vocabulary; those of text stay bit for bit.

    New rows start as the mean of the old ones and a thousandth of their spread: then no new id is likely at first, and
    none is like another.

    Raises:
        ValueError: the model has not as many ids as the vocabulary's text.
    """
    before = model.get_input_embeddings().weight.shape[0]
    if before != vocabulary.text_size:
        raise ValueError(
            f"vocabulary must have the model's {before} ids as text, got {vocabulary.text_size}."
        )
    model.resize_token_embeddings(int(vocabulary.size), mean_resizing=False)
    tables = {
        id(table.weight): table.weight
        for table in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    for weight in tables.values():
        old, new = weight[:before], weight[before:]
        generator = torch.Generator(device="cpu").manual_seed(0)
        noise = torch.randn(new.shape, generator=generator).to(new)
        new.copy_(old.mean(dim=0) + 1e-3 * old.std(dim=0) * noise)
    return model
