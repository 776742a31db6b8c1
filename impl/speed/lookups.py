"""Finding codes: the nearest of many codewords, product codes, residual codes."""

from collections.abc import Iterator
from importlib.util import find_spec

import torch

from impl.quantizers.irvq import ImprovedRVQ
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.speed.measuring import Case, Run, evaluation


def cases(quick: bool) -> Iterator[Case]:
    """Yield the cases, built just before they run; `quick` shrinks the inputs."""
    scale = 64 if quick else 1
    yield from _nearest(scale)
    yield from _encoding(scale)
    yield _beam(scale)


def _nearest(scale: int) -> Iterator[Case]:
    for rows, size in [(65536, 1024), (65536, 8192), (4096, 65536)]:
        vectors, codewords = torch.randn(rows // scale, 64), torch.randn(size // scale, 64)
        peers: dict[str, Run] = {
            "torch.cdist + argmin": lambda v=vectors, c=codewords: torch.cdist(v, c).argmin(dim=1)
        }
        if find_spec("faiss"):
            import faiss

            index = faiss.IndexFlatL2(64)
            index.add(codewords.numpy())
            peers["faiss IndexFlatL2"] = lambda i=index, v=vectors: i.search(v.numpy(), 1)
        if find_spec("vector_quantize_pytorch"):
            from vector_quantize_pytorch import VectorQuantize

            theirs = VectorQuantize(dim=64, codebook_size=len(codewords), rotation_trick=False)
            peers["vector-quantize-pytorch"] = evaluation(theirs, vectors[None])
        yield Case(
            f"nearest code {len(vectors)} x {len(codewords)}",
            lambda v=vectors, c=codewords: nearest_codes(v, c),
            peers,
            {"torch.cdist + argmin": 2.5, "faiss IndexFlatL2": 0.8, "vector-quantize-pytorch": 15},
        )


def _encoding(scale: int) -> Iterator[Case]:
    vectors = torch.randn(100_000 // scale, 128)
    sample, size = vectors[: 20_000 // scale], 256 if scale == 1 else 16
    ours = [ProductQuantizer(128, size, 8), ResidualVQ(128, size, 8)]
    for quantizer in ours:
        quantizer.fit(sample, iterations=3).eval()
    peers: list[dict[str, Run]] = [{}, {}]
    if find_spec("faiss"):
        import faiss

        bits = size.bit_length() - 1
        product, residual = faiss.ProductQuantizer(128, 8, bits), faiss.ResidualQuantizer(128, 8, bits)
        product.cp.niter, residual.cp.niter, residual.max_beam_size = 3, 3, 1
        for theirs, row in zip((product, residual), peers, strict=True):
            theirs.train(sample.numpy())
            row["faiss"] = lambda theirs=theirs: theirs.compute_codes(vectors.numpy())
    targets = ({"faiss": 2.0}, {"faiss": 1.4})
    for name, quantizer, row, target in zip(("PQ", "greedy RQ"), ours, peers, targets, strict=True):
        yield Case(f"{name} encode, 8 x {size}", lambda q=quantizer: q.encode(vectors), row, target)


def _beam(scale: int) -> Case:
    """A beam of 5 over 8 stages of 1,024 codewords; both search the codebooks that faiss has learned."""
    size = 1024 if scale == 1 else 16
    vectors, ours = torch.randn(8192 // scale, 128), ImprovedRVQ(128, size, 8, width=5)
    if not find_spec("faiss"):
        ours.codebooks.data.copy_(torch.randn(8, size, 128))
        return Case(f"RQ encode, beam 5, 8 x {size}", lambda: ours.encode(vectors))
    import faiss

    theirs = faiss.ResidualQuantizer(128, 8, size.bit_length() - 1)
    theirs.cp.niter, theirs.max_beam_size = 2, 1
    theirs.train(torch.randn(10_000 // scale, 128).numpy())
    theirs.max_beam_size = 5
    codebooks = torch.from_numpy(faiss.vector_to_array(theirs.codebooks)).view(8, size, 128)
    ours.codebooks.data.copy_(codebooks)
    peers: dict[str, Run] = {"faiss": lambda: theirs.compute_codes(vectors.numpy())}
    return Case(f"RQ encode, beam 5, 8 x {size}", lambda: ours.encode(vectors), peers, {"faiss": 1.0})
