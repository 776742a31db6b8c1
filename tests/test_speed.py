"""The speed measurement runs whole on small inputs, and what it says of time and memory is so."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from impl.speed import Case, measure, peak_megabytes


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
    assert len(report["results"]) == len(done.stdout.splitlines()) >= 14
    assert all(result["seconds"] > 0 for result in report["results"])


def test_a_ratio_is_the_peer_over_ours():
    result = measure(Case("sleep", lambda: time.sleep(0.01), {"slower": lambda: time.sleep(0.05)}), runs=3)
    assert result.ratios["slower"] > 2


def test_peak_memory_sees_an_allocation_that_is_gone_again():
    grown = peak_megabytes(lambda: np.ones(16 * 2**20).sum())
    if grown is None:
        pytest.skip("this system does not let a process reset its high-water mark")
    assert 100 < grown < 200
