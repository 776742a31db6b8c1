"""Independent pieces of work on PyTorch's threads, each piece whole on one of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def map_on_threads(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Return `function` of each piece, in order.

    Many small operations gain nothing from being split over threads; whole pieces do. As many run at once as PyTorch
    has threads, each with one thread and without gradients; with one thread there is but a loop.
    """
    count = torch.get_num_threads()
    without_gradients = torch.no_grad()(function)
    if count == 1:
        return [without_gradients(piece) for piece in pieces]
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(without_gradients, pieces))
    finally:
        torch.set_num_threads(count)
