"""Generating one of a given set of sequences: a tree of their prefixes, and a beam search that never leaves it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Beams(NamedTuple):
    """What a beam search found for each row, best first.

    Attributes:
        rows: (B, W) int64, which of the tree's sequences.
        scores: (B, W), their log-probabilities.
    """

    rows: Tensor
    scores: Tensor


class PrefixTree(nn.Module):
    """The prefixes of N different sequences of one length L, and what may follow each.

    A node of level l is a prefix of l codes, numbered in the order of the alphabet; the root is node 0 of level 0. The
    tables hold at most N sum(K) numbers; as buffers they move and are saved with the model whose outputs they are.

    Args:
        sequences: (N, L) int64, all different; place l has codes from 0 on.
        sizes: K of each place.

    Raises:
        ValueError: no sequence, two equal ones, or codes out of range.
    """

    def __init__(self, sequences: Tensor, sizes: tuple[int, ...]) -> None:
        super().__init__()
        if sequences.ndim != 2 or not len(sequences) or sequences.shape[1] != len(sizes):
            raise ValueError(
                f"sequences must be (N, {len(sizes)}), N at least 1, got {tuple(sequences.shape)}."
            )
        limits = torch.tensor(sizes, device=sequences.device)
        if bool(((sequences < 0) | (sequences >= limits)).any()):
            raise ValueError(f"sequences must have codes from 0 to below {sizes}, got others.")
        self.sizes = tuple(sizes)
        node = sequences.new_zeros(len(sequences))
        for level, size in enumerate(sizes):
            edges, child = torch.unique(node * size + sequences[:, level], return_inverse=True)
            table = sequences.new_full((int(node.max()) + 1, size), -1)
            table.view(-1)[edges] = torch.arange(len(edges), device=edges.device)
            self.register_buffer(f"children_{level}", table)
            node = child
        if int(node.max()) + 1 < len(sequences):
            raise ValueError(
                f"sequences must be all different, got {int(node.max()) + 1} of {len(sequences)}."
            )
        self.register_buffer("row_of_leaf", node.argsort())

    @property
    def depth(self) -> int:
        """L."""
        return len(self.sizes)

    def step(self, level: int, nodes: Tensor) -> Tensor:
        """Return the nodes (..., K) that each code leads to from nodes (...) of a level, -1 where it may not follow."""
        return getattr(self, f"children_{level}")[nodes]

    def allowed(self, prefix: Tensor) -> Tensor:
        """Return which codes (K,), bool, may follow a prefix (l,) of l < L codes; none follows one that is illegal."""
        node = prefix.new_zeros(())
        for level, code in enumerate(prefix):
            node = self.step(level, node)[code]
            if node < 0:
                return torch.zeros(self.sizes[len(prefix)], dtype=torch.bool, device=prefix.device)
        return self.step(len(prefix), node) >= 0


@torch.no_grad()
def beam_search(score: Callable[[Tensor], Tensor], tree: PrefixTree, batch: int, width: int) -> Beams:
    """Find the most probable sequences of a tree, place after place, keeping the `width` best prefixes.

    What is illegal is left out after the probabilities are formed, not before: a sequence keeps the probability that
    the model gives it. Every beam is a prefix of the tree, and min(width, N) come out; from width N on the answer is
    the exact ranking of all sequences.

    Args:
        score: of prefixes (B, w, l), the log-probabilities (B, w, K_l), all finite, of the next code. It starts with
            w = 1 and l = 0.
        tree: of the legal sequences.
        batch: B.
        width: prefixes to keep.

    Raises:
        ValueError: a width below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width!r}.")
    device = tree.row_of_leaf.device
    prefixes = torch.zeros(batch, 1, 0, dtype=torch.int64, device=device)
    nodes, totals = prefixes.new_zeros(batch, 1), torch.zeros(batch, 1, device=device)
    for level, size in enumerate(tree.sizes):
        children = tree.step(level, nodes)
        candidates = (totals[..., None] + score(prefixes).float()).masked_fill(children < 0, -torch.inf)
        # Every prefix has a child, so the legal candidates are at least as many as the beams that are kept.
        kept = min(width, int((children >= 0).sum(dim=(1, 2)).min()))
        totals, best = candidates.flatten(1).topk(kept, dim=1)
        parents, codes = best // size, best % size
        nodes = children.flatten(1).gather(1, best)
        prefixes = torch.cat(
            [prefixes.gather(1, parents[..., None].expand(-1, -1, level)), codes[..., None]], dim=-1
        )
    return Beams(tree.row_of_leaf[nodes], totals)
