"""Drawing codes from logits, the last step of every decoder."""

import torch
from torch import Tensor


def draw(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one code for each row of logits.

    Args:
        logits: (..., K); -inf where a code is forbidden.
        temperature: 0 takes the most probable code, the lowest of equals.
        top_k: keep the k most probable codes; equals of the k-th stay.
        top_p: keep the smallest set of most probable codes that holds this much probability.
        generator: of the draw; torch's global one when None.

    Returns:
        (...) int64.

    Raises:
        ValueError: a negative temperature, a top_k below 1, a top_p outside (0, 1], or a row in which all is forbidden.
    """
    if temperature < 0:
        raise ValueError(f"temperature must be 0 or more, got {temperature!r}.")
    if bool((logits == -torch.inf).all(dim=-1).any()):
        raise ValueError("logits must allow a code in every row, got one with -inf throughout.")
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = keep_most_probable(logits / temperature, top_k, top_p)
    flat = logits.softmax(dim=-1).reshape(-1, logits.shape[-1])
    return torch.multinomial(flat, 1, generator=generator).reshape(logits.shape[:-1])


def keep_most_probable(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Return logits (..., K) with -inf for the codes that top-k or top-p leave out; arguments as in `draw`."""
    if top_k is not None:
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k!r}.")
        least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None:
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {top_p!r}.")
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        # A code is out when those before it already hold the mass.
        beyond = ordered.cumsum(dim=-1) - ordered >= top_p
        logits = logits.masked_fill(beyond.gather(-1, order.argsort(dim=-1)), -torch.inf)
    return logits
