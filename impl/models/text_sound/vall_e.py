"""VALL-E: speech as a language of codec codes; a prompt of three seconds says whose voice it is.

Parts: a codec with residual codes, frozen (`tokenizers.sound.encodec`), transformers whose norms take a condition
(`networks.transformers`), drawing of codes (`sampling.categorical`). New is the split: the first codebook, which holds
most of what is heard, frame after frame; each of the others for all frames at once.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.data.sound import PHONES, Speech
from impl.networks.transformers import Cache, Transformer, sinusoids
from impl.sampling.categorical import draw
from impl.tokenizers.base import Tokenizer
from impl.tokenizers.sound.encodec import EnCodec

#: Fills phones and codes up to a common length; it is seen by nothing and predicted by nothing.
FILLING = -1


class Predicted(NamedTuple):
    """Logits (B, T + 1, K + 1) of the first codebook, and the losses of both transformers in nats a code."""

    logits: Tensor
    losses: dict[str, Tensor]


class FirstCodebook(nn.Module):
    """Predicts the codes of the first codebook one after another: `end`, id K, follows the last.

    Phones see all phones and no code; a code sees all phones and the codes before it. Both count their positions
    from zero.
    """

    def __init__(self, phones: int, codebook_size: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.end, begin = codebook_size, codebook_size + 1
        self.begin = begin
        self.phones, self.codes = nn.Embedding(phones, dim), nn.Embedding(codebook_size + 2, dim)
        self.transformer = Transformer(dim, depth, heads)
        self.head = nn.Linear(dim, codebook_size + 1)

    def forward(self, phones: Tensor, codes: Tensor, cache: Cache | None = None) -> Tensor:
        """Return logits (B, T + 1, K + 1) of what follows `begin` and each of the codes (B, T), given phones (B, P)."""
        begin = codes.new_full((len(codes), 1), self.begin)
        given = torch.cat([begin, codes.clamp(min=0)], dim=1)
        inputs = torch.cat([placed(self.phones(phones.clamp(min=0))), placed(self.codes(given))], dim=1)
        mask = self.mask(phones, given.shape[1])
        return self.head(self.transformer(inputs, mask, cache=cache)[:, phones.shape[1] :])

    def step(self, phones: Tensor, code: Tensor, place: int, cache: Cache) -> Tensor:
        """Return logits (B, K + 1) of what follows a code (B,), the `place`-th, all before it being in the cache."""
        inputs = placed(self.codes(code)[:, None], place)
        seen = F.pad(phones != FILLING, (0, cache.length + 1 - phones.shape[1]), value=True)
        return self.head(self.transformer(inputs, seen[:, None], cache=cache)[:, 0])

    @staticmethod
    def mask(phones: Tensor, length: int) -> Tensor:
        """Return who sees whom, (B, P + length, P + length) bool."""
        count = phones.shape[1]
        allowed = torch.zeros(count + length, count + length, dtype=torch.bool, device=phones.device)
        allowed[:, :count] = True
        allowed[count:, count:] = torch.ones_like(allowed[count:, count:]).tril()
        return allowed & F.pad(phones != FILLING, (0, length), value=True)[:, None]


class OtherCodebooks(nn.Module):
    """Predicts one further codebook for all frames at once, from phones, prompt and the codebooks before it.

    Everything sees everything. Which codebook is due is told to every norm. Prediction and embedding share weights.
    """

    def __init__(
        self, phones: int, codebook_size: int, num_codebooks: int, dim: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.phones = nn.Embedding(phones, dim)
        self.codes = nn.ModuleList(nn.Embedding(codebook_size, dim) for _ in range(num_codebooks))
        self.stages = nn.Embedding(num_codebooks - 1, dim)
        self.transformer = Transformer(dim, depth, heads, condition_dim=dim)
        for table in self.codes:
            # As a head, it gives logits of variance one; as an embedding it is scaled up to that.
            nn.init.normal_(table.weight, std=dim**-0.5)

    def forward(self, phones: Tensor, codes: Tensor, prompt: int, stage: int) -> Tensor:
        """Return logits (B, T, K) of codebook `stage` (1 to M - 1).

        Args:
            phones: (B, P).
            codes: (B, T, M); of the first `prompt` frames all codebooks are read, of the others those before `stage`.
            prompt: frames.
            stage: the codebook, counted from zero.
        """
        there = codes[..., 0] != FILLING
        embedded = [
            table(column.clamp(min=0)) for table, column in zip(self.codes, codes.unbind(-1), strict=False)
        ]
        known = sum(embedded[:stage])
        if prompt:
            known = torch.cat([sum(embedded)[:, :prompt], known[:, prompt:]], dim=1)
        inputs = torch.cat(
            [placed(self.phones(phones.clamp(min=0))), placed(known * known.shape[-1] ** 0.5)], dim=1
        )
        mask = torch.cat([phones != FILLING, there], dim=1)[:, None].expand(-1, inputs.shape[1], -1)
        condition = self.stages.weight[stage - 1].expand(len(codes), -1)
        hidden = self.transformer(inputs, mask, condition)[:, phones.shape[1] :]
        return hidden @ self.codes[stage].weight.T


def placed(embedded: Tensor, first: int = 0) -> Tensor:
    """Add to embeddings (B, n, D) their positions, counted from `first`."""
    positions = sinusoids(first + embedded.shape[1], embedded.shape[2])[first:]
    return embedded + positions.to(embedded)


class VALLE(nn.Module):
    """Speaks phones in the voice of a prompt (wang2023neural).

    Args:
        codec: trained, with M codebooks of one size; frozen here.
        phones: how many different ones there are.
        dim: width of both transformers.
        depth: blocks of each.
        heads: of attention.
    """

    def __init__(
        self, codec: Tokenizer, phones: int = len(PHONES), dim: int = 96, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        sizes = codec.codebook_sizes
        if len(set(sizes)) != 1 or len(sizes) < 2:
            raise ValueError(f"codec must have two or more codebooks of one size, got sizes {sizes}.")
        self.codec, self.num_codebooks = codec.eval().requires_grad_(False), len(sizes)
        self.first = FirstCodebook(phones, sizes[0], dim, depth, heads)
        self.others = OtherCodebooks(phones, sizes[0], len(sizes), dim, depth, heads)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return a small model over an untrained codec."""
        torch.manual_seed(seed)
        return cls(speech_codec(), dim=32, depth=2)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the codec."""
        super().train(mode)
        self.codec.eval()
        return self

    @torch.no_grad()
    def rows(self, spoken: Sequence[Speech]) -> list[tuple[Tensor, Tensor]]:
        """Return utterances of any lengths as pairs of phones (P,) and codes (T, M), filled up to the longest."""
        pairs = [
            (phones, codes)
            for part in spoken
            for phones, codes in zip(part.phones, self.codec.encode(part.waveforms), strict=True)
        ]
        longest = [max(len(pair[kind]) for pair in pairs) for kind in (0, 1)]
        return [
            (
                F.pad(phones, (0, longest[0] - len(phones)), value=FILLING),
                F.pad(codes, (0, 0, 0, longest[1] - len(codes)), value=FILLING),
            )
            for phones, codes in pairs
        ]

    def forward(self, batch: tuple[Tensor, Tensor]) -> Predicted:
        """Return the losses of phones (B, P) and codes (B, T, M) as `rows` gives them.

        One of the further codebooks is drawn for the batch, and how many frames at the beginning are its prompt: fewer
        than the shortest utterance has. These are not in the second loss.
        """
        phones, codes = batch
        lengths = (codes[..., 0] != FILLING).sum(dim=1)
        logits = self.first(phones, codes[..., 0])
        targets = F.pad(codes[..., 0], (0, 1), value=FILLING)
        targets = targets.scatter(1, lengths[:, None], self.first.end)
        losses = {"first": F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=FILLING)}
        stage = int(torch.randint(1, self.num_codebooks, ()))
        prompt = int(torch.randint(int(lengths.min()), ()))
        losses["others"] = self.stage_loss(phones, codes, prompt, stage)
        return Predicted(logits, losses)

    def stage_loss(self, phones: Tensor, codes: Tensor, prompt: int, stage: int) -> Tensor:
        """Return nats a code of codebook `stage`, the frames of the prompt left out."""
        predicted = self.others(phones, codes, prompt, stage)[:, prompt:]
        return F.cross_entropy(
            predicted.flatten(0, 1), codes[:, prompt:, stage].flatten(), ignore_index=FILLING
        )

    @torch.no_grad()
    def generate(
        self,
        phones: Tensor,
        prompt: Tensor,
        length: int,
        temperature: float = 1.0,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[Tensor]:
        """Continue the codes of prompts.

        Args:
            phones: (B, P), those of the prompt and then those to be spoken.
            prompt: codes (B, T, M) of the prompts, without filling; T may be 0.
            length: frames to add at most.
            temperature: of the first codebook; the others take the most probable code.
            top_p: as in `draw`.
            seed: of the draw.

        Returns:
            For each row the codes (T', M) that follow its prompt, T' from 0 to `length`.
        """
        column = self._first_column(phones, prompt[..., 0], length, temperature, top_p, seed)
        codes = torch.cat([prompt, F.pad(column[..., None], (0, self.num_codebooks - 1), value=0)], dim=1)
        codes = codes.masked_fill(codes[..., :1] == FILLING, FILLING)
        written = codes[..., 0] != FILLING
        for stage in range(1, self.num_codebooks):
            best = self.others(phones, codes, prompt.shape[1], stage).argmax(dim=-1)
            best[:, : prompt.shape[1]] = prompt[..., stage]
            codes[..., stage] = torch.where(written, best, FILLING)
        return [row[prompt.shape[1] : int(count)] for row, count in zip(codes, written.sum(1), strict=True)]

    def _first_column(
        self, phones: Tensor, prompt: Tensor, length: int, temperature: float, top_p: float | None, seed: int
    ) -> Tensor:
        """The first codebook (B, up to length) after prompts (B, T), with filling from `end` on."""
        generator = torch.Generator(device=phones.device).manual_seed(seed)
        cache, column = Cache(), []
        logits = self.first(phones, prompt, cache)[:, -1]
        over = torch.zeros(len(phones), dtype=torch.bool, device=phones.device)
        for index in range(length):
            code = draw(logits, temperature, top_p=top_p, generator=generator)
            over = over | (code == self.first.end)
            if over.all():
                break
            column.append(code.masked_fill(over, FILLING))
            logits = self.first.step(phones, code, prompt.shape[1] + index + 1, cache)
        return torch.stack(column, dim=1) if column else prompt[:, :0]

    @torch.no_grad()
    def speak(
        self,
        phones: Tensor,
        prompt: Speech,
        length: int,
        temperature: float = 1.0,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[Tensor]:
        """Say phones (B, P) in the voices of utterances: waveforms (C, N), each as long as it came out.

        An utterance at which the model ended at once is silence of one frame.
        """
        codes = self.generate(
            torch.cat([prompt.phones, phones], dim=1),
            self.codec.encode(prompt.waveforms),
            length,
            temperature,
            top_p,
            seed,
        )
        silence = prompt.waveforms.new_zeros(prompt.waveforms.shape[1], self.codec.hop)
        return [self.codec.decode(row[None])[0] if len(row) else silence for row in codes]


def speech_codec() -> EnCodec:
    """Build a small codec at the rate of a language model: 100 frames a second of 8 kHz speech, 4 codebooks of 64.

    At this rate the shape of the wave is out of reach; the mel distance counts five times as much as the samples.
    """
    numbers = {"strides": (2, 5, 8), "dim": 64, "lstm_layers": 0, "weights": {"time": 0.2, "mel": 1.0}}
    return EnCodec(**{**EnCodec.SMALL, **numbers})
