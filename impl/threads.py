"""Independent pieces of work on PyTorch's threads, each piece whole on one of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def map_on_threads(function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """Return `function` of each piece, in order.

    Many small operations gain nothing from being split over threads; whole pieces do. As many run at once as PyTorch
    has threads, each with one thread and without gradients. Fewer pieces than threads are done one after another, each
    with all threads.
    """
    count = torch.get_num_threads()
    without_gradients = torch.no_grad()(function)
    if count == 1 or len(pieces) < count:
        return [without_gradients(piece) for piece in pieces]
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(without_gradients, pieces))
    finally:
        torch.set_num_threads(count)
