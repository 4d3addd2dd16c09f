"""Sixteen processes at once make the first worktrees of a repository: a short run of the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_sixteen_cold_starts_at_once_all_succeed() -> None:
    command = [sys.executable, "-m", "tests.soak.cold_starts", "--count", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr[-3000:]
    assert {
        name: value for name, value in found.items() if name.endswith("_failures") and "raw" not in name
    } == {
        "pool_failures": 0,
        "beside_git_failures": 0,
        "run_failures": 0,
        "claim_failures": 0,
    }
    assert (found["pool_starts"], found["run_starts"], found["claim_starts"]) == (16, 16, 16)
