"""All quantizers at equal bits: python -m impl.compare neural|fitted

`neural` puts each into one autoencoder of digits: 4 tokens of 6 bits an image, the same networks, steps and seeds.
`fitted` fits each to one set of vectors at 16 bits. A quantizer of section 2 that the catalog links takes part in one
of them, or says here why not. Numbers go to survey/results/neural.csv and fitted.csv.
"""

import argparse
import csv
import io
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from impl import links
from impl.benches import digits_autoencoder, digits_features, mixture, normalised_error
from impl.quantizers.base import Quantizer
from impl.tokenizers.image.autoencoder import ImageAutoencoder
from impl.tokenizers.image.variational import VariationalAutoencoder

RESULTS = Path(__file__).resolve().parents[1] / "survey" / "results"
COLUMNS = ("id", "data", "bits", "metric", "value", "seed", "steps", "device", "torch", "python", "commit")

#: Arguments of each quantizer for 6 bits a token, width 8 where it may be chosen.
NEURAL: dict[str, dict] = {
    "vq-vae": {"dim": 8, "codebook_size": 64},
    "rotation-trick": {"dim": 8, "codebook_size": 64},
    "simvq": {"dim": 8, "codebook_size": 64},
    "cvq-vae": {"dim": 8, "codebook_size": 64},
    "straightening-ste": {"dim": 8, "codebook_size": 64},
    "ibq": {"dim": 8, "codebook_size": 64},
    "hc-vq": {"dim": 8, "codebook_size": 64},
    "hypervq": {"dim": 8, "codebook_size": 64},
    "vq-vae-em": {"dim": 8, "codebook_size": 64, "temperature": 1 / 32, "decay": 0.99},
    "reg-vq": {"dim": 8, "codebook_size": 64},
    "soft-to-hard-vq": {"dim": 8, "codebook_size": 64, "gain": 20.0, "horizon": 200.0, "warmup": 200},
    "sq-vae": {"dim": 8, "codebook_size": 64},
    "vq-wae": {"dim": 8, "codebook_size": 64},
    "vqgan-lc": {"dim": 8},
    "fsq": {"levels": [4, 4, 4]},
    "lfq": {"dim": 6},
    "bsq": {"dim": 6},
    "rvq": {"dim": 8, "codebook_size": 8, "num_codebooks": 2},
    "pq": {"dim": 8, "codebook_size": 8, "num_codebooks": 2},
}

#: Autoencoders of those whose objective is not the squared error plus the quantizer's losses.
AROUND: dict[str, type[ImageAutoencoder]] = {"sq-vae": VariationalAutoencoder}

_FOUR = {"dim": 32, "codebook_size": 16, "num_codebooks": 4}
#: Arguments of each for 16 bits a vector of 32 numbers; sums of codewords also store a norm for search.
FITTED: dict[str, dict] = {
    **dict.fromkeys(
        (
            "pq",
            "opq",
            "cartesian-k-means",
            "online-pq",
            "online-opq",
            "dopq",
            "rvq",
            "stacked-quantizers",
            "irvq",
            "compq",
            "ervq",
            "grvq",
        ),
        _FOUR,
    ),
    **dict.fromkeys(
        (
            "composite-quantization",
            "sparse-composite-quantization",
            "additive-quantization",
            "lsq",
            "lsq-plus-plus",
            "online-aq",
            "qinco",
            "qinco2",
        ),
        _FOUR,
    ),
    "optimized-cartesian-k-means": {"dim": 32, "codebook_size": 16, "num_parts": 2, "num_layers": 2},
    "rvpq": {"dim": 32, "codebook_size": 16, "num_parts": 2, "num_layers": 2},
    "rvq-p-np": {"dim": 32, "codebook_size": 16, "num_stages": 2, "num_parts": 2},
    "prvq": {**_FOUR, "projected_dim": 16},
    "trq": {"dim": 32, "num_cells": 256, "codebook_size": 256},
    "vaq": {"dim": 32, "num_codebooks": 4, "bits": 16},
    "lopq": {"dim": 32, "num_cells": 16, "codebook_size": 64, "num_codebooks": 2},
}

#: Those that take part in neither, and why.
APART = {
    "vq-vae-2": "its bits lie in a hierarchy over space, which 4 tokens do not have",
    "vqgan": "its idea is in the losses of images, not in the quantizer",
    "hq-vae": "its bits lie in a ladder over space and layers; with one layer it is sq-vae",
    "hqa": "its bits lie in a stack of autoencoders",
    "soft-vq-vae": "its decoder learns from posterior means, which no 6 bits name",
    "scq": "a latent is a convex combination of codewords, which no 6 bits name",
    "supervised-quantization": "it learns from labels, for retrieval",
    "dpq-supervised": "it learns from labels, for retrieval",
    "dpq-embedding": "it codes the rows of an embedding table for a task",
    "hihpq": "it learns from pairs of views, for retrieval",
    "nodepiece": "it codes the entities of a graph",
    "earl": "it codes the entities of a graph",
    "random-entity-quantization": "it codes the entities of a graph",
}


def linked() -> dict[str, type]:
    """Return the classes that section 2 of the catalog links, by id."""
    return links.linked(query="section:2")


def make(id: str, arguments: dict) -> Quantizer:
    """Build the quantizer of a work; VQGAN-LC's frozen table comes from features of the training digits."""
    cls = linked()[id]
    if id == "vqgan-lc":
        return cls.from_features(arguments["dim"], digits_features(arguments["dim"]), 64)
    return cls(**arguments)


def neural(seeds: int, steps: int) -> Iterator[dict]:
    """Yield the rows of the neural comparison: error, usage, perplexity and training time over plain VQ's."""
    reference: dict[int, float] = {}
    for id in tqdm(NEURAL, disable=None, unit="quantizer"):
        build = partial(make, id, NEURAL[id])
        for seed in range(seeds):
            start = time.process_time()
            score = digits_autoencoder(build, steps, seed, AROUND.get(id, ImageAutoencoder))
            # The first quantizer is the reference; its runs are the first of each seed.
            spent = time.process_time() - start
            ratio = spent / reference.setdefault(seed, spent)
            measured = {**score._asdict(), "time over vq-vae": ratio}
            bits = measured.pop("bits")
            for metric, value in measured.items():
                yield _row(id, "digits", bits, metric, value, seed, steps)


def fitted(seeds: int, vectors: Callable[[str], Tensor] = mixture) -> Iterator[dict]:
    """Yield the rows of the fitted comparison: held-out error, fit and encode time over PQ's."""
    train, test = vectors("train"), vectors("test")
    reference: dict[tuple[int, str], float] = {}
    for id in tqdm(FITTED, disable=None, unit="quantizer"):
        for seed in range(seeds):
            torch.manual_seed(seed)
            quantizer = make(id, FITTED[id])
            times = [time.process_time()]
            error = normalised_error(quantizer, train, test, seed)
            times.append(time.process_time())
            quantizer.encode(test)
            times.append(time.process_time())
            measured = {"error": error}
            for name, first, last in (("fit time over pq", 0, 1), ("encode time over pq", 1, 2)):
                spent = times[last] - times[first]
                measured[name] = spent / reference.setdefault((seed, name), spent)
            for metric, value in measured.items():
                yield _row(id, "mixture", quantizer.bits, metric, value, seed, 0)


def _row(id: str, data: str, bits: float, metric: str, value: float, seed: int, steps: int) -> dict:
    return {
        "id": id,
        "data": data,
        "bits": f"{bits:g}",
        "metric": metric,
        "value": f"{value:.5g}",
        "seed": seed,
        "steps": steps,
        "device": "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parent, check=False)
    return done.stdout.strip() or "unknown"


def write(path: Path, rows: list[dict]) -> None:
    """Write rows as CSV, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(buffer.getvalue(), "utf-8")
    os.replace(temporary, path)


def read(name: str, folder: Path = RESULTS) -> list[dict[str, str]]:
    """Read the rows of `neural` or `fitted` as they were written.

    Raises:
        FileNotFoundError: they have not been measured.
    """
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m impl.compare", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("what", choices=("neural", "fitted"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of training (neural)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV file")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    rows = neural(given.seeds, given.steps) if given.what == "neural" else fitted(given.seeds)
    write(given.out / f"{given.what}.csv", list(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
