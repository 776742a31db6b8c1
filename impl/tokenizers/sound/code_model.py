"""Fewer bytes for the same codes: a small causal transformer predicts each frame's codes, a range coder writes them.

Parts: causal transformer (`networks.transformers`), range coder of the `constriction` package.
"""

from typing import ClassVar, NamedTuple

import constriction
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impl.networks.transformers import Cache, Transformer, sinusoids


class Predicted(NamedTuple):
    """What the model gives: logits (B, T, M, K) and, under "cross_entropy", nats a code."""

    logits: Tensor
    losses: dict[str, Tensor]


class CodeModel(nn.Module):
    """Predicts all M codes of a frame at once from the frames before it (defossez2023high).

    The input at frame t is the sum of the embeddings of frame t - 1's codes. That the M codes of a frame are taken for
    independent given the past costs bits and saves M - 1 of M passes.

    Args:
        codebook_sizes: K, the same M times.
        dim: width of the transformer.
        depth: blocks.
        context: frames that a position sees at most, itself included; older ones are dropped from memory.
    """

    part_of: ClassVar[str] = "encodec"

    def __init__(
        self, codebook_sizes: tuple[int, ...], dim: int = 64, depth: int = 2, context: int = 200
    ) -> None:
        super().__init__()
        if len(set(codebook_sizes)) != 1:
            raise ValueError(f"codebook_sizes must be equal, got {codebook_sizes}.")
        self.codebook_size, self.num_codebooks, self.context = codebook_sizes[0], len(codebook_sizes), context
        self.embed = nn.Embedding(self.codebook_size * self.num_codebooks, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        self.transformer = Transformer(dim, depth, heads=4, causal=True)
        self.heads = nn.Linear(dim, self.codebook_size * self.num_codebooks)
        self.register_buffer("positions", sinusoids(context, dim), persistent=False)

    def forward(self, codes: Tensor) -> Predicted:
        """Predict codes (B, T, M) from those before; T at most `context`."""
        if codes.shape[1] > self.context:
            raise ValueError(f"codes must have at most {self.context} frames, got {codes.shape[1]}.")
        before = self._embedded(codes[:, :-1])
        inputs = torch.cat([self.start.expand(len(codes), 1, -1), before], dim=1)
        logits = self._logits(self.transformer(inputs + self.positions[: codes.shape[1]]))
        loss = F.cross_entropy(logits.flatten(0, 2), codes.flatten())
        return Predicted(logits, {"cross_entropy": loss})

    @torch.no_grad()
    def compress(self, codes: Tensor) -> bytes:
        """Return codes (T, M) of one sample as bytes: each frame's at the price of its improbability.

        Raises:
            ValueError: codes of another shape or outside [0, K).
        """
        if codes.ndim != 2 or codes.shape[1] != self.num_codebooks:
            raise ValueError(f"codes must be (frames, {self.num_codebooks}), got shape {tuple(codes.shape)}.")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise ValueError(
                f"codes must be in [0, {self.codebook_size}), got {int(codes.min())} to {int(codes.max())}."
            )
        encoder, walk = constriction.stream.queue.RangeEncoder(), _Walk(self)
        for frame in codes:
            # Frame by frame, though all are known: the decoder can do no other, and must meet the same roundings.
            encoder.encode(frame.cpu().numpy().astype(np.int32), _CATEGORICAL, walk.probabilities())
            walk.advance(frame)
        return encoder.get_compressed().astype("<u4").tobytes()

    @torch.no_grad()
    def decompress(self, content: bytes, frames: int) -> Tensor:
        """Return the codes (frames, M) that `compress` wrote, given how many frames there were.

        Raises:
            ValueError: the length is not that of any compressed sample.
        """
        if len(content) % 4:
            raise ValueError(f"content must be a multiple of 4 bytes long, got {len(content)}.")
        words = np.frombuffer(content, "<u4").astype(np.uint32)
        decoder, walk, rows = constriction.stream.queue.RangeDecoder(words), _Walk(self), []
        for _ in range(frames):
            rows.append(torch.from_numpy(decoder.decode(_CATEGORICAL, walk.probabilities())).long())
            walk.advance(rows[-1])
        return torch.stack(rows) if rows else torch.zeros(0, self.num_codebooks, dtype=torch.int64)

    def _embedded(self, codes: Tensor) -> Tensor:
        offsets = torch.arange(self.num_codebooks, device=codes.device) * self.codebook_size
        return self.embed(codes + offsets).sum(dim=-2)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.heads(hidden).unflatten(-1, (self.num_codebooks, self.codebook_size))


#: A model of one symbol whose probabilities come with each call; the fast fixed-point fit of them.
_CATEGORICAL = constriction.stream.model.Categorical(perfect=False)


class _Walk:
    """The model's predictions, one frame after another, with the past in a cache."""

    def __init__(self, model: CodeModel) -> None:
        self.model, self.position = model, 0
        self._restart(model.start[None, None])

    def _restart(self, inputs: Tensor) -> None:
        self.cache, self.position = Cache(), 0
        self._step(inputs)

    def _step(self, inputs: Tensor) -> None:
        positions = self.model.positions[self.position : self.position + inputs.shape[1]]
        self.hidden = self.model.transformer(inputs + positions, cache=self.cache)[:, -1]
        self.position += inputs.shape[1]

    def probabilities(self) -> np.ndarray:
        """Return (M, K) float32 for the frame to come."""
        return self.model._logits(self.hidden)[0].softmax(dim=-1).cpu().numpy()

    def advance(self, frame: Tensor) -> None:
        """Take in the codes (M,) of the frame that came."""
        inputs = self.model._embedded(frame.to(self.hidden.device)[None, None])
        # A full context begins anew: sinusoids beyond those trained on say nothing.
        if self.position == self.model.context:
            self._restart(inputs)
        else:
            self._step(inputs)
