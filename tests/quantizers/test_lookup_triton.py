"""The GPU kernel, in a process of its own: Triton chooses its interpreter when it is imported, for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def test_the_kernel_does_what_the_blocked_search_does():
    pytest.importorskip("triton", reason="Triton is not installed; it exists for Linux only")
    cases = Path(__file__).with_name("lookup_triton_cases.py")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", str(cases)]
    environment = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cases.parents[2])
    assert run.returncode == 0, run.stdout[-3000:]
    assert " passed" in run.stdout
