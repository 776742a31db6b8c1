"""The speed measurement runs whole on small inputs, and what it says of time and memory is so."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from impl.speed.fitting import least_error
from impl.speed.measuring import Case, measure, peak_megabytes


def test_every_case_runs_and_is_reported(tmp_path):
    out = tmp_path / "speed.json"
    command = [
        sys.executable,
        "-m",
        "impl.speed",
        "--quick",
        "--runs",
        "1",
        "--threads",
        "1",
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["versions"]["torch"] and report["threads"] == 1
    assert len(report["results"]) >= 20
    assert all(result["seconds"] > 0 for result in report["results"])
    assert all(result["name"] in done.stdout for result in report["results"])
    assert all(row["seconds"] > 0 for row in report["growth"])
    assert report["data_parallel"]["shared"] > 0
    fits = [result for result in report["results"] if "bound" in result["name"]]
    assert len(fits) == 4
    for fit in fits:  # a held-out error below the bound would have been scored on what it was trained on
        bound = float(re.search(r"bound ([\d.]+)", fit["name"])[1])
        assert all(error > bound for error in (fit["error"], *fit["peer_error"].values()))


def test_a_ratio_is_the_peer_over_ours():
    result = measure(Case("sleep", lambda: time.sleep(0.01), {"slower": lambda: time.sleep(0.05)}), runs=3)
    assert result.ratios["slower"] > 2
    low, high = result.quartiles["slower"]
    assert low <= result.ratios["slower"] <= high


def test_peak_memory_sees_an_allocation_that_is_gone_again():
    grown = peak_megabytes(lambda: np.ones(16 * 2**20).sum())
    if grown is None:
        pytest.skip("this system does not let a process reset its high-water mark")
    assert 100 < grown < 200


def test_a_heavy_case_runs_once_and_keeps_what_it_returned():
    calls = []
    case = Case(
        "heavy", lambda: calls.append(1) or 7, {"peer": lambda: 5}, error=lambda out: out / 2, heavy=True
    )
    result = measure(case, runs=3)
    assert len(calls) == 1 and result.error == 3.5 and result.peer_error == {"peer": 2.5}


def test_the_bound_of_equal_variances_is_the_textbook_formula():
    """D(R) = s 2^(-2R) for each of n dimensions that share the bits."""
    assert least_error([4.0] * 8, 24) == pytest.approx(8 * 4.0 * 2**-6)
    assert least_error([1.0, 0.01], 1) == pytest.approx(0.25 + 0.01)  # the small one stays below the water
    assert least_error([3.0, 1.0], 0) == pytest.approx(4.0)
