"""What the quantizers cost against the libraries that a user would pick instead: `python -m impl.speed`.

Every case runs its peers in turn (A B C A B C ...) on the same input with the same threads, and reports the median
of each peer's time over ours, run by run, so that a machine whose speed drifts does not decide. Peak memory is what
the process grew by during one run. Peers that are not installed are left out.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from impl.benches import mixture
from impl.data.images import patch_vectors
from impl.quantizers.bsq import BSQ
from impl.quantizers.fsq import FSQ
from impl.quantizers.lfq import LFQ
from impl.quantizers.lookup import nearest_codes
from impl.quantizers.lsq import LocalSearchQuantizer
from impl.quantizers.pq import ProductQuantizer
from impl.quantizers.rvq import ResidualVQ
from impl.quantizers.vq_vae import VectorQuantizer

Run = Callable[[], object]


@dataclass
class Case:
    """One piece of work: what it is called, ours and the peers' way to do it."""

    name: str
    ours: Run
    peers: dict[str, Run] = field(default_factory=dict)


@dataclass
class Result:
    """Medians over the runs; `ratios` are peers' time over ours, above 1 where ours is faster."""

    name: str
    seconds: float
    megabytes: float | None
    ratios: dict[str, float]
    peer_megabytes: dict[str, float | None]


def training_step(module: nn.Module, latents: Tensor) -> Run:
    """Forward and backward of a quantizer in training mode; moving averages are updated on the way."""
    module.train()

    def run() -> None:
        given = latents.clone().requires_grad_()
        output = module(given)
        if hasattr(output, "losses"):
            loss = sum(output.losses.values(), output.latents.square().mean())
        else:  # vector-quantize-pytorch: (quantized, codes, loss); FSQ has no loss
            loss = output[0].square().mean() + (output[2].sum() if len(output) > 2 else 0)
        loss.backward()

    return run


def evaluation(module: nn.Module, latents: Tensor) -> Run:
    """Forward in evaluation mode without gradients."""
    module.eval()

    def run() -> None:
        with torch.no_grad():
            module(latents)

    return run


def cases(quick: bool) -> Iterator[Case]:
    """Yield every case, built just before it runs; `quick` shrinks the inputs and shows only that all of it works."""
    scale = 64 if quick else 1
    yield from _lookup(scale)
    yield from _training(scale)
    yield from _implicit(scale)
    yield from _encoding(scale)
    yield from _additive(scale)


def _lookup(scale: int) -> Iterator[Case]:
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
        )


def _training(scale: int) -> Iterator[Case]:
    installed = find_spec("vector_quantize_pytorch")
    for size in (1024, 8192):
        latents = torch.randn(8, 1024 // scale, 64)
        ours = VectorQuantizer(64, size // scale, update="ema")
        peers = {}
        if installed:
            from vector_quantize_pytorch import VectorQuantize

            peers["vector-quantize-pytorch"] = training_step(
                VectorQuantize(dim=64, codebook_size=size // scale), latents
            )
        yield Case(f"VQ training step, K = {size // scale}", training_step(ours, latents), peers)
    latents = torch.randn(8, 1024 // scale, 128)
    for name, work in [("evaluation", evaluation), ("training step", training_step)]:
        ours, peers = ResidualVQ(128, 1024 // scale, 8, update="ema"), {}
        if installed:
            from vector_quantize_pytorch import ResidualVQ as TheirResidualVQ

            theirs = TheirResidualVQ(dim=128, codebook_size=1024 // scale, num_quantizers=8)
            peers["vector-quantize-pytorch"] = work(theirs, latents)
        yield Case(f"residual VQ 8 x 1024, {name}", work(ours, latents), peers)


def _implicit(scale: int) -> Iterator[Case]:
    installed = find_spec("vector_quantize_pytorch")
    for bits in (16, 18):
        latents = torch.randn(1, 1024 // scale, bits)
        for name, ours, spherical in [("LFQ", LFQ(bits), False), ("BSQ", BSQ(bits), True)]:
            peers = {}
            if installed and scale == 1:
                from vector_quantize_pytorch import LFQ as TheirLFQ

                theirs = TheirLFQ(dim=bits, codebook_size=2**bits, spherical=spherical)
                peers["vector-quantize-pytorch"] = training_step(theirs, latents)
            yield Case(f"{name} training step, 2^{bits} codes", training_step(ours, latents), peers)
    latents, peers = torch.randn(8, 4096 // scale, 5), {}
    if installed:
        from vector_quantize_pytorch import FSQ as TheirFSQ

        peers["vector-quantize-pytorch"] = evaluation(TheirFSQ([7, 5, 5, 5, 5]), latents)
    yield Case("FSQ forward", evaluation(FSQ([7, 5, 5, 5, 5]), latents), peers)


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
        product.cp.niter, residual.max_beam_size = 3, 1
        for theirs, row in zip((product, residual), peers, strict=True):
            theirs.train(sample.numpy())
            row["faiss"] = lambda theirs=theirs: theirs.compute_codes(vectors.numpy())
    for name, quantizer, row in zip(("PQ", "greedy RQ"), ours, peers, strict=True):
        yield Case(f"{name} encode, 8 x {size}", lambda q=quantizer: q.encode(vectors), row)


def _additive(scale: int) -> Iterator[Case]:
    """LSQ's fit; that ours leaves no more error than faiss's is a test's matter."""
    for vectors, books, bits in [(mixture("train"), 4, 4), (patch_vectors("train", remove_mean=True), 7, 6)]:
        given, dim, peers = vectors[: len(vectors) // scale], vectors.shape[1], {}
        ours = partial(LocalSearchQuantizer(dim, 2**bits, books).fit, given)
        if find_spec("faiss"):
            import faiss

            peers["faiss"] = partial(faiss.LocalSearchQuantizer(dim, books, bits).train, given.numpy())
        yield Case(f"LSQ fit, {books} x {2**bits}", ours, peers)


def measure(case: Case, runs: int) -> Result:
    """Run ours and each peer in turn, `runs` times after one warm-up, and take medians."""
    everyone = {"ours": case.ours, **case.peers}
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    memory = {}
    for name, run in everyone.items():
        run()
        memory[name] = peak_megabytes(run)
    for _ in range(runs):
        for name, run in everyone.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    ratios = {
        name: statistics.median(b / a for a, b in zip(seconds["ours"], seconds[name], strict=True))
        for name in case.peers
    }
    ours = memory.pop("ours")
    return Result(case.name, statistics.median(seconds["ours"]), ours, ratios, memory)


def peak_megabytes(run: Run) -> float | None:
    """How much the process's resident memory grew at its peak during `run`; None where the system cannot tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # sets the high-water mark to the present size
    except OSError:
        return None
    before = _kilobytes(status, "VmRSS")
    run()
    return max(0.0, (_kilobytes(status, "VmHWM") - before) / 1024)


def _kilobytes(status: Path, name: str) -> int:
    (line,) = [line for line in status.read_text().splitlines() if line.startswith(name + ":")]
    return int(line.split()[1])


def environment(threads: int) -> dict[str, object]:
    """Machine, versions, threads, commit and date, which a number is nothing without."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    names = ("torch", "numpy", "faiss-cpu", "vector-quantize-pytorch")
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in names if _installed(name)},
        "commit": git.stdout.strip(),
        "date": date.today().isoformat(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Measure all cases, print them as a table and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and faiss (default 2)")
    parser.add_argument("--quick", action="store_true", help="small inputs, to see that everything runs")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    if find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(arguments.threads)
    results = [measure(case, arguments.runs) for case in tqdm(cases(arguments.quick), unit="case")]
    for result in results:
        peers = ", ".join(
            f"{name} {ratio:.2f}x ({_memory(result.peer_megabytes[name])})"
            for name, ratio in result.ratios.items()
        )
        print(f"{result.name:<34} {result.seconds * 1e3:9.2f} ms {_memory(result.megabytes):>8}  {peers}")
    if arguments.out:
        report = {
            **environment(arguments.threads),
            "seed": 0,
            "results": [asdict(result) for result in results],
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def _memory(megabytes: float | None) -> str:
    return "?" if megabytes is None else f"{megabytes:.0f} MB"


if __name__ == "__main__":
    main()
