"""What the quantizers cost against the libraries that a user would pick instead: `python -m impl.speed`.

Every case runs its peers in turn (A B C A B C ...) on the same input with the same threads, and reports the median of
each peer's time over ours, run by run, and its quartiles, so that a machine whose speed drifts does not decide. Peak
memory is what the process grew by during one run. Peers that are not installed are left out. On a machine with a GPU
the look-up is measured there too.
"""

import argparse
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from tqdm import tqdm

from impl.speed import fitting, gpu, growth, lookups, parallel, searching, steps
from impl.speed.measuring import Case, measure
from survey.files import write_atomically

GROUPS = {
    "lookups": lookups.cases,
    "steps": steps.cases,
    "fitting": fitting.cases,
    "searching": searching.cases,
}


def cases(groups: list[str], quick: bool) -> Iterator[Case]:
    """Yield every case of the groups, built just before it runs."""
    for group in groups:
        yield from GROUPS[group](quick)


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


def merged(path: Path, report: dict) -> list[dict]:
    """Return the results of `report` with those of other cases that `path` has from the same machine and versions."""
    same = ("machine", "processor", "threads", "python", "versions")
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if any(before.get(name) != report[name] for name in same):
        return report["results"]
    measured = {result["name"]: result for result in report["results"]}
    kept = [measured.pop(result["name"], result) for result in before["results"]]
    return [*kept, *measured.values()]


def main() -> None:
    """Measure, print a table and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    parser.add_argument("--runs", type=int, default=9, help="runs of each case (default 9)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and faiss (default 2)")
    parser.add_argument("--quick", action="store_true", help="small inputs, to see that everything runs")
    parser.add_argument(
        "--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="which cases (default all)"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    if find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(arguments.threads)
    results = []
    for case in tqdm(cases(arguments.groups, arguments.quick), unit="case"):
        results.append(measure(case, arguments.runs))
        tqdm.write("\n".join(results[-1].lines()))
    report = {
        **environment(arguments.threads),
        "seed": 0,
        "results": [asdict(result) for result in results],
        "growth": growth.growth(arguments.quick),
        "data_parallel": parallel.overhead(arguments.quick),
    }
    if torch.cuda.is_available():
        report["gpu"] = gpu.measured(arguments.quick)
    print(
        json.dumps(
            {name: report[name] for name in ("growth", "data_parallel", "gpu") if name in report}, indent=1
        )
    )
    if arguments.out:
        report["results"] = merged(arguments.out, report)
        write_atomically(arguments.out, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
