"""PRISE: actions as codes, often repeated rows of codes as tokens, and a policy that chooses tokens.

Parts: causal transformer (`networks.transformers`), perceptrons, vector quantization (`quantizers.vq_vae`), byte-pair
encoding (`language.byte_pair`); new are codes learned from what an action leads to, and a decoder of code and state.
"""

import copy
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from impl.data.trajectories import Trajectories
from impl.language.byte_pair import BytePair
from impl.networks.perceptron import perceptron
from impl.networks.transformers import Transformer, sinusoids
from impl.quantizers.vq_vae import VectorQuantizer


class ActionsTokenized(NamedTuple):
    """Decoded actions (B, n, A), codes int64 (B, n, 1) and named scalar losses."""

    reconstruction: Tensor
    codes: Tensor
    losses: dict[str, Tensor]


class PRISE(nn.Module):
    """PRISE's action quantizer (zheng2024prise).

    The state z_t is what a causal transformer makes of the last observations. An action's code depends on the state
    too, u_t = g(sg[z_t] + h(a_t)), and so does what it decodes to, d(z_t + e): a code is something to do here, not a
    vector of motor commands. Codes are learned by prediction: from z_t a transition is unrolled over n codes, and a
    projection of each state that it arrives at has to point where that of the observed one does, as in BYOL.

    Losses, each summed over the n steps: direction (2 - 2 cos), mean absolute error of the actions, and the
    commitment. The codebook moves by EMA.

    Args:
        observation_dim: O.
        action_dim: A.
        dim: D, of states and codewords.
        codebook_size: K.
        hidden: width of the perceptrons.
        history: observations that a state is made of.
        horizon: n.
        depth: blocks of the transformer.
        heads: of its attention.
        action_weight: of the error of the actions.
    """

    SMALL: ClassVar[dict[str, Any]] = {"observation_dim": 2, "action_dim": 2}

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        dim: int = 32,
        codebook_size: int = 6,
        hidden: int = 64,
        history: int = 3,
        horizon: int = 3,
        depth: int = 1,
        heads: int = 4,
        action_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self.history, self.horizon, self.action_weight = history, horizon, action_weight
        self.observe = perceptron([observation_dim, hidden, dim])
        self.remember = Transformer(dim, depth, heads, causal=True)
        self.register_buffer("places", sinusoids(history, dim), persistent=False)
        self.act = perceptron([action_dim, hidden, dim])
        self.combine = perceptron([dim, hidden, dim])
        self.quantizer = VectorQuantizer(dim, codebook_size, "ema", 1.0, 0.9, "kmeans", revival_threshold=0.5)
        self.transition = perceptron([dim, hidden, hidden, dim])
        self.project, self.predict = perceptron([dim, hidden, dim]), perceptron([dim, hidden, dim])
        self.decoder = perceptron([dim, hidden, hidden, action_dim])

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        """Return six codes for a pen on a plane; same seed, same weights."""
        torch.manual_seed(seed)
        return cls(**cls.SMALL)

    def states(self, observations: Tensor) -> Tensor:
        """Return z (B, T, D) of observations (B, T, O), each from the last ones; before the first stands the first."""
        self._check("observations", observations, self.observation_dim)
        seen = self.observe(observations)
        seen = torch.cat([seen[:, :1].expand(-1, self.history - 1, -1), seen], dim=1)
        windows = seen.unfold(1, self.history, 1).transpose(2, 3)
        recalled = self.remember(windows.flatten(0, 1) + self.places)[:, -1]
        return recalled.unflatten(0, windows.shape[:2])

    def latents(self, states: Tensor, actions: Tensor) -> Tensor:
        """Return u (..., D) of states (..., D) and actions (..., A); the states get no gradient."""
        return self.combine(states.detach() + self.act(actions))

    def encode(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Return the codes (B, T, 1) of actions (B, T, A) done at observations (B, T, O).

        Raises:
            ValueError: wrong shapes, NaN or Inf.
        """
        self._check("actions", actions, self.action_dim)
        return self.quantizer.encode(self.latents(self.states(observations), actions))

    def decode(self, codes: Tensor, observations: Tensor) -> Tensor:
        """Return the actions (B, T, A) that codes (B, T, 1) mean at observations (B, T, O)."""
        return self.decoder(self.states(observations) + self.quantizer.decode(codes))

    def forward(self, batch: tuple[Tensor, Tensor]) -> ActionsTokenized:
        """Return losses of windows (B, history + horizon, O) and (B, history + horizon, A), as `windows` cuts them."""
        observations, actions = batch
        states = self.states(observations)[:, self.history - 1 :]
        actions = actions[:, self.history - 1 : -1]
        self._check("actions", actions, self.action_dim)
        steps = actions.shape[1]
        quantized = self.quantizer(self.latents(states[:, :-1], actions))
        decoded = self.decoder(states[:, :-1] + quantized.latents)
        imagined, errors = states[:, 0], []
        for step in range(steps):
            imagined = self.transition(imagined + quantized.latents[:, step])
            expected = self.project(states[:, step + 1]).detach()
            cosine = F.cosine_similarity(self.predict(self.project(imagined)), expected, dim=-1)
            errors.append(2 - 2 * cosine.mean())
        losses = {
            "dynamics": torch.stack(errors).sum(),
            "actions": self.action_weight * steps * F.l1_loss(decoded, actions),
            **{name: steps * loss for name, loss in quantized.losses.items()},
        }
        return ActionsTokenized(decoded, quantized.codes, losses)

    def windows(self, trajectories: Trajectories) -> TensorDataset:
        """Cut trajectories to what `forward` takes, one window for each step that has `horizon` steps after it."""
        return TensorDataset(*_windows(trajectories, self.history - 1, self.horizon + 1))

    @staticmethod
    def _check(name: str, values: Tensor, width: int) -> None:
        if values.ndim != 3 or values.shape[-1] != width:
            raise ValueError(f"{name} must have shape (B, T, {width}), got {tuple(values.shape)}.")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} must be finite, got NaN or Inf.")


class PolicyLosses(NamedTuple):
    """Logits (B, V) of the tokens and named scalar losses."""

    logits: Tensor
    losses: dict[str, Tensor]


class TokenPolicy(nn.Module):
    """Chooses a token, carries out its codes one by one, and chooses again (zheng2024prise, its downstream stage).

    The label of a step is the first token of what remains of the demonstration. A copy of the decoder is tuned with
    it: the error of the actions that each token decodes to, along the demonstration, is expected under a Gumbel-softmax
    draw of the policy. Everything else of `prise` stays as it is.

    Args:
        prise: trained.
        pieces: tokens of its codes. With no merges, a policy of single codes.
        demonstrations: only tokens that occur in them can be chosen.
        hidden: width of the policy.
        decoding_weight: of the expected error.
    """

    def __init__(
        self,
        prise: PRISE,
        pieces: BytePair,
        demonstrations: Trajectories,
        hidden: int = 64,
        decoding_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.prise = prise.eval().requires_grad_(False)
        self.decoder = copy.deepcopy(prise.decoder).requires_grad_(True)
        self.decoding_weight = decoding_weight
        with torch.no_grad():
            codes = prise.encode(demonstrations.observations, demonstrations.actions)[..., 0]
            states = prise.states(demonstrations.observations).flatten(0, 1)
        # Nothing in the quantizer's losses keeps the spread of states, so the policy sees them standardised.
        self.register_buffer("center", states.mean(dim=0))
        self.register_buffer("scale", states.std(dim=0).clamp(min=1e-6))
        firsts = torch.tensor([pieces.first_tokens(row) for row in codes.tolist()])
        self.tokens = tuple(firsts.unique().tolist())
        spelled = [torch.tensor(pieces.spelled[token]) for token in self.tokens]
        self.register_buffer("codes", nn.utils.rnn.pad_sequence(spelled, batch_first=True))
        self.register_buffer("lengths", torch.tensor([len(row) for row in spelled]))
        self.labels = torch.searchsorted(torch.tensor(self.tokens), firsts)
        self.head = perceptron([prise.quantizer.dim, hidden, len(self.tokens)])

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the quantizer."""
        super().train(mode)
        self.prise.eval()
        return self

    def examples(self, demonstrations: Trajectories) -> TensorDataset:
        """Return for each step of the demonstrations given to the constructor: windows, label, steps that remain."""
        longest = self.codes.shape[1]
        count, steps = self.labels.shape
        padded = Trajectories(
            *(
                torch.cat([part, part[:, -1:].expand(-1, longest - 1, -1)], dim=1)
                for part in (demonstrations.observations, demonstrations.actions)
            )
        )
        left = torch.arange(steps, 0, -1).repeat(count)
        return TensorDataset(*_windows(padded, self.prise.history - 1, longest), self.labels.flatten(), left)

    def forward(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> PolicyLosses:
        """Return losses of windows of observations and actions, labels (B,) and steps that remain (B,)."""
        observations, actions, labels, left = batch
        before, longest = self.prise.history - 1, self.codes.shape[1]
        with torch.no_grad():
            states = self.prise.states(observations)[:, before:]
        logits = self.logits(states[:, 0])
        # What each of the K codes would do at each step; a token picks one of these a step.
        decoded = self.decoder(states[:, :, None] + self.prise.quantizer.codewords())
        errors = (decoded - actions[:, before:, None]).abs().sum(dim=-1)
        step = torch.arange(longest, device=labels.device)
        errors = errors[:, step, self.codes]
        counts = (step < self.lengths[:, None]) & (step < left[:, None, None])
        expected = (F.gumbel_softmax(logits, dim=-1) * (errors * counts).sum(dim=-1)).sum(dim=-1).mean()
        losses = {"tokens": F.cross_entropy(logits, labels), "decoding": self.decoding_weight * expected}
        return PolicyLosses(logits, losses)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (B, V) of the tokens that could come next, from states (B, D)."""
        return self.head((states - self.center) / self.scale)

    @torch.no_grad()
    def act(
        self, start: Tensor, world: Callable[[Tensor, Tensor], Tensor], steps: int
    ) -> tuple[Trajectories, Tensor]:
        """Act in a world that maps observations (B, O) and actions (B, A) to the next observations.

        Returns:
            what was seen and done, T steps of it, and the token chosen at each step (B, T), -1 where none was.
        """
        batch = len(start)
        seen, done, chosen = [start], [], []
        token = torch.zeros(batch, dtype=torch.int64, device=start.device)
        place = self.lengths[token].clone()  # all are used up: choose first
        for _ in range(steps):
            state = self.prise.states(torch.stack(seen[-self.prise.history :], dim=1))[:, -1]
            used = place >= self.lengths[token]
            token = torch.where(used, self.logits(state).argmax(dim=1), token)
            place = torch.where(used, 0, place)
            chosen.append(torch.where(used, token, -1))
            codeword = self.prise.quantizer.decode(self.codes[token, place][:, None])
            done.append(self.decoder(state + codeword))
            seen.append(world(seen[-1], done[-1]))
            place = place + 1
        return Trajectories(torch.stack(seen[:-1], 1), torch.stack(done, 1)), torch.stack(chosen, 1)


def _windows(trajectories: Trajectories, before: int, after: int) -> tuple[Tensor, Tensor]:
    """Cut (W, before + after, ...) windows about every step that has `after - 1` steps behind it.

    Before the first step stands the first, again and again.
    """
    parts = []
    for part in (trajectories.observations, trajectories.actions):
        part = torch.cat([part[:, :1].expand(-1, before, -1), part], dim=1)
        parts.append(part.unfold(1, before + after, 1).transpose(2, 3).flatten(0, 1))
    return parts[0], parts[1]
