"""AnyGPT: text, images and speech as ids of one vocabulary, so that a plain language model answers any with any.

Parts: tokenizers that stay frozen, the vocabulary, packer and grammar of `impl.language`, a Llama of Hugging Face. New
is that nothing else is needed: a modality is a tokenizer and a pair of marks, and what the model can do is decided by
the documents it reads. Of speech it gets the first codebook alone, which SpeechTokenizer made to say what was spoken.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from impl.language.grammar import Grammar
from impl.language.model import LanguageModel, Written, random_backbone
from impl.language.packing import Segment, document_ids, pack, string, text, unpack
from impl.language.vocabulary import Vocabulary
from impl.models.text_image.chameleon import image_tokenizer
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.sound.encodec import EnCodec
from impl.tokenizers.sound.speechtokenizer import SpeechTokenizer, VowelTeacher

#: A small Llama; larger ones differ by these numbers.
SMALL = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
#: Orders of pairs with text in the middle of everything, as the paper pretrains on.
PAIRS = (("image", "text"), ("text", "image"), ("speech", "text"), ("text", "speech"))
#: Orders of all three in one document.
INTERLEAVED = tuple(permutations(("text", "image", "speech")))


class Modality(NamedTuple):
    """How a modality becomes codes.

    Attributes:
        tokenizer: trained; it is frozen here.
        shape: of the codes of one sample without the axis of codebooks: (h, w) or (T,).
        levels: of the tokenizer's codebooks the model reads and writes so many, frame after frame.
    """

    tokenizer: Tokenizer
    shape: tuple[int, ...]
    levels: int = 1

    @property
    def frames(self) -> int:
        """Stacks of codes of one sample."""
        return math.prod(self.shape)


class AnyGPT(nn.Module):
    """Any-to-any language model over discrete codes (zhan2024anygpt).

    Samples are given and returned by modality: "text" as strings, others as their tokenizers take them.

    Args:
        modalities: name -> how it becomes codes; text, as bytes, is always there.
        numbers: of the Llama's configuration.
    """

    def __init__(self, modalities: Mapping[str, Modality], **numbers: Any) -> None:
        super().__init__()
        self.modalities = dict(modalities)
        self.tokenizers = nn.ModuleDict(
            {name: modality.tokenizer.eval().requires_grad_(False) for name, modality in modalities.items()}
        )
        sizes = {name: part.tokenizer.codebook_sizes[: part.levels] for name, part in modalities.items()}
        self.vocabulary = Vocabulary(256, sizes)
        backbone = random_backbone("llama", self.vocabulary, **{**SMALL, **numbers})
        self.language = LanguageModel(backbone, self.vocabulary)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small model of 8 x 8 digits and 0.24 s of speech, its tokenizers untrained."""
        torch.manual_seed(seed)
        parts = digits_and_speech(image_tokenizer(channels=1), speech_tokenizer(VowelTeacher(STRIDES)))
        return cls(parts, hidden_size=32, intermediate_size=64, num_hidden_layers=2)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the tokenizers, which stay as they were trained."""
        super().train(mode)
        self.tokenizers.eval()
        return self

    @torch.no_grad()
    def segments(self, name: str, samples: Tensor | Sequence[str]) -> list[Segment]:
        """Return samples of a modality as segments: bytes, or codes (..., levels)."""
        if name == "text":
            return [Segment("text", text(words)) for words in samples]
        codes = self.tokenizers[name].encode(samples.to(self._device))[..., : self.modalities[name].levels]
        return [Segment(name, sample) for sample in codes.cpu()]

    def documents(
        self,
        samples: Mapping[str, Tensor | Sequence[str]],
        orders: Sequence[Sequence[str]] = (*PAIRS, *INTERLEAVED),
    ) -> dict[str, Tensor]:
        """Write N samples, each known in several modalities, as N documents in each of the orders.

        Returns:
            Rows as `LanguageModel` takes them, order after order, without masks: each row is one document.
        """
        known = {
            name: self.segments(name, samples[name]) for name in {part for order in orders for part in order}
        }
        written = [
            list(parts) for order in orders for parts in zip(*(known[name] for name in order), strict=True)
        ]
        packed = pack(written, self.vocabulary)
        return {name: tensor for name, tensor in packed.batch().items() if name != "mask"}

    def forward(self, batch: dict[str, Tensor]) -> Written:
        """Return logits and losses of rows of `documents`."""
        return self.language(batch)

    @torch.no_grad()
    def answer(
        self, given: Mapping[str, Tensor | Sequence[str]], target: str, **options: Any
    ) -> Tensor | list[str]:
        """Return N answers as strings, or as samples (N, ...) of the modality `target`; arguments as in `write`."""
        written = self.write(given, target, **options)
        if target == "text":
            return [string(segment.content) for segment in written]
        shape = self.modalities[target].shape
        codes = torch.stack([segment.content.reshape(*shape, -1) for segment in written])
        return self.tokenizers[target].decode(codes.to(self._device))

    def write(
        self,
        given: Mapping[str, Tensor | Sequence[str]],
        target: str,
        temperature: float = 1.0,
        seed: int = 0,
        length: int = 12,
    ) -> list[Segment]:
        """Write an answer to each of N prompts, as a segment of bytes or codes.

        Args:
            given: modality -> N samples, in the order of the mapping.
            target: "text" or a modality.
            temperature: 0 takes the most probable id.
            seed: of the draw.
            length: of a text in bytes, at most.
        """
        prompts = [
            self._prompt(parts, target)
            for parts in zip(*(self.segments(name, samples) for name, samples in given.items()), strict=True)
        ]
        grammar, room = self.grammar(target), length
        if target != "text":
            room = self.modalities[target].frames * self.modalities[target].levels + 1
        answers: list[Segment] = [Segment("text", torch.zeros(0, dtype=torch.int64))] * len(prompts)
        # Prompts of one length are continued together.
        for count in sorted({len(prompt) for prompt in prompts}):
            rows = [row for row, prompt in enumerate(prompts) if len(prompt) == count]
            together = torch.stack([prompts[row] for row in rows]).to(self._device)
            ids = self.language.write(together, grammar, room, temperature, seed=seed).cpu()
            start = count if target == "text" else count - 1
            for row, written in zip(rows, ids, strict=True):
                answers[row] = next(iter(unpack(written[start:], self.vocabulary)), answers[row])
        return answers

    def grammar(self, target: str) -> Grammar:
        """Return what may be written in an answer: text until the end, or exactly one sample's codes."""
        if target == "text":
            return Grammar(self.vocabulary, {})
        return Grammar(self.vocabulary, {target: self.modalities[target].frames}, text=False)

    def _prompt(self, parts: Sequence[Segment], target: str) -> Tensor:
        """Ids of a document that goes on with an answer: what is given, and the mark that opens the target."""
        ids = document_ids(parts, self.vocabulary)[0][:-1]
        if target == "text":
            return ids
        return torch.cat([ids, torch.tensor([self.vocabulary.mark(f"<{target}>")])])

    @property
    def _device(self) -> torch.device:
        return next(self.language.parameters()).device


#: 50 frames a second of 8 kHz, the paper's rate of speech.
STRIDES = (4, 5, 8)


def speech_tokenizer(teacher: VowelTeacher) -> SpeechTokenizer:
    """Build a tokenizer of speech at 50 frames a second, 4 codebooks of 64, the first distilled from the teacher."""
    numbers = {"strides": STRIDES, "dim": 64, "lstm_layers": 0, "weights": {"time": 0.2, "mel": 1.0}}
    return SpeechTokenizer(teacher, VowelTeacher.WIDTH, **{**EnCodec.SMALL, **numbers})


def digits_and_speech(images: Tokenizer, speech: Tokenizer) -> dict[str, Modality]:
    """Return the modalities of `impl.data.three_ways`: 4 codes of an image, 12 of an utterance."""
    return {"image": Modality(images, (2, 2)), "speech": Modality(speech, (12,))}
