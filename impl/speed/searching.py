"""Searching a million codes of 8 bytes by table look-ups."""

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import torch

from impl.quantizers.pq import ProductQuantizer
from impl.search import LookupIndex
from impl.speed.measuring import Case, Run

NEIGHBOURS = 10


def cases(quick: bool) -> Iterator[Case]:
    """Yield the cases, exact top 10: 1,000 queries against faiss, 50 against nanopq, which takes them one by one."""
    scale, size = (256, 16) if quick else (1, 256)
    items, queries = torch.randn(1_000_000 // scale, 64), torch.randn(1_000 // min(scale, 50), 64)
    sample = items[: max(20_000 // scale, 500)]
    index = LookupIndex(ProductQuantizer(64, size, 8).fit(sample, iterations=3).eval(), items)
    title, peers, few = "{} queries on {} codes of 8 bytes", {}, queries[:50]
    if find_spec("faiss"):
        import faiss

        theirs = faiss.IndexPQ(64, 8, size.bit_length() - 1)
        theirs.pq.cp.niter = 3
        theirs.train(sample.numpy())
        theirs.add(items.numpy())
        peers["faiss IndexPQ"] = lambda: theirs.search(queries.numpy(), NEIGHBOURS)
    name = title.format(len(queries), len(items))
    yield Case(name, lambda: index.search(queries, NEIGHBOURS), peers, {"faiss IndexPQ": 0.8})
    peers = {}
    if find_spec("nanopq"):
        peers["nanopq"] = _nanopq(items.numpy(), sample.numpy(), few.numpy(), size)
    name = title.format(len(few), len(items))
    yield Case(name, lambda: index.search(few, NEIGHBOURS), peers, {"nanopq": 10.0})


def _nanopq(items: np.ndarray, sample: np.ndarray, queries: np.ndarray, size: int) -> Run:
    import nanopq

    theirs = nanopq.PQ(8, size, verbose=False)
    theirs.fit(sample, iter=3)
    codes = theirs.encode(items)

    def run() -> None:
        for query in queries:
            distances = theirs.dtable(query).adist(codes)
            nearest = np.argpartition(distances, NEIGHBOURS)[:NEIGHBOURS]
            nearest[np.argsort(distances[nearest])]

    return run
