"""Transformer blocks: one kind, with the switches that this field's models need.

Pre-norm attention and a two-layer network; the mask decides what a position may see (everything, the past, the scales
before its own); a condition may set the norms' scale and shift; a cache lets generation go on from where it stopped.
Positions are the caller's business: it adds them to what it puts in.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Cache:
    """Keys and values of the positions seen so far, for each layer of one transformer."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """Positions held."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, heads, n, d) to a layer and return all of it."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
        else:
            before = self.layers[layer]
            self.layers[layer] = (torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2))
        return self.layers[layer]


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself, or to a context.

    Args:
        dim: width, a multiple of `heads`.
        heads: how many.
        query_key_norm: normalise queries and keys (chameleonteam2024chameleon), so that logits stay bounded.
    """

    def __init__(self, dim: int, heads: int, query_key_norm: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got {dim} and {heads}.")
        self.heads = heads
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        norms = [nn.LayerNorm(dim // heads) if query_key_norm else nn.Identity() for _ in range(2)]
        self.query_norm, self.key_norm = norms

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        cache: tuple[Cache, int] | None = None,
    ) -> Tensor:
        """Map x (B, n, D); `mask` (n, m) or (B, n, m) is True where a position may look, None everywhere."""
        source = x if context is None else context
        query = rearrange(self.query(x), "b n (h d) -> b h n d", h=self.heads)
        key, value = rearrange(self.key_value(source), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        query, key = self.query_norm(query), self.key_norm(key)
        if cache is not None:
            key, value = cache[0].extend(cache[1], key, value)
        if mask is not None and mask.ndim == 3:
            mask = mask[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(rearrange(mixed, "b h n d -> b n (h d)"))


class ConditionedNorm(nn.Module):
    """Layer norm whose scale and shift may come from a condition: (1 + a(c)) norm(x) + b(c)."""

    def __init__(self, dim: int, condition_dim: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=condition_dim is None)
        self.modulation = nn.Linear(condition_dim, 2 * dim) if condition_dim else None
        if self.modulation is not None:
            # The norm starts as a plain one.
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Normalise x (B, n, D) under a condition (B, C) or (B, n, C)."""
        if self.modulation is None:
            return self.norm(x)
        if condition is None:
            raise ValueError("condition must be given: this transformer was built with condition_dim.")
        scale, shift = self.modulation(condition if condition.ndim == 3 else condition[:, None]).chunk(
            2, dim=-1
        )
        return (1 + scale) * self.norm(x) + shift


class Block(nn.Module):
    """Attention to itself, attention to a context where there is one, and a two-layer network, each added."""

    def __init__(
        self, dim: int, heads: int, condition_dim: int | None, cross: bool, query_key_norm: bool
    ) -> None:
        super().__init__()
        self.norm_attention = ConditionedNorm(dim, condition_dim)
        self.attention = Attention(dim, heads, query_key_norm)
        self.norm_cross = nn.LayerNorm(dim) if cross else None
        self.cross = Attention(dim, heads) if cross else None
        self.norm_network = ConditionedNorm(dim, condition_dim)
        self.network = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        condition: Tensor | None,
        context: Tensor | None,
        cache: tuple[Cache, int] | None,
    ) -> Tensor:
        """Map x (B, n, D) to the same shape."""
        x = x + self.attention(self.norm_attention(x, condition), mask=mask, cache=cache)
        if self.cross is not None:
            x = x + self.cross(self.norm_cross(x), context)
        return x + self.network(self.norm_network(x, condition))


class Transformer(nn.Module):
    """A stack of blocks and a last norm: (B, n, D) to (B, n, D).

    Args:
        dim: D.
        depth: blocks.
        heads: of attention.
        causal: a position sees itself and those before it.
        condition_dim: width of a condition that sets the norms, or None.
        cross: the blocks also attend to a context.
        query_key_norm: as in `Attention`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        causal: bool = False,
        condition_dim: int | None = None,
        cross: bool = False,
        query_key_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.causal = dim, causal
        self.blocks = nn.ModuleList(
            Block(dim, heads, condition_dim, cross, query_key_norm) for _ in range(depth)
        )
        self.norm = ConditionedNorm(dim, condition_dim)
        self.apply(_small_weights)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
        context: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Map x (B, n, D).

        Args:
            x: (B, n, D), positions added. With a cache: the positions that follow those held.
            mask: (n, m) or (B, n, m) bool, True where a position may look; together with `causal` both must allow it.
            condition: (B, C) or (B, n, C).
            context: (B, m, D).
            cache: extended in place.
        """
        states = self.states(x, mask, condition, context, cache)
        return self.norm(states[-1], condition)

    def states(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
        context: Tensor | None = None,
        cache: Cache | None = None,
    ) -> list[Tensor]:
        """Return what goes into the first block and what each block gives, before the last norm: depth + 1 tensors."""
        past = cache.length if cache is not None else 0
        if self.causal:
            allowed = causal_mask(x.shape[1], past, x.device)
            mask = allowed if mask is None else mask & allowed
        states = [x]
        for index, block in enumerate(self.blocks):
            held = (cache, index) if cache is not None else None
            states.append(block(states[-1], mask, condition, context, held))
        return states


def causal_mask(length: int, past: int = 0, device: torch.device | None = None) -> Tensor:
    """Return the mask (length, past + length): position i of the new ones sees the past and the new ones up to i."""
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)


def sinusoids(length: int, dim: int) -> Tensor:
    """Return fixed positions (length, dim): sines and cosines of wavelengths from 2 pi to 20,000 pi."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]


def _small_weights(module: nn.Module) -> None:
    # Modulations keep their zeros: they are linear layers of a ConditionedNorm, initialised there.
    if isinstance(module, (Attention, Block)):
        for linear in module.modules():
            if isinstance(linear, nn.Linear) and linear.weight.any():
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)
