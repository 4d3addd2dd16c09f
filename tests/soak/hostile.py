"""Every hostile input there is a table of: how many there are, and what came of them.

``python -m tests.soak.hostile`` runs all tests of ``tests/hostile``, the long ones too, and counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hostile.tampering import AS_ROOT, DEEDS, SLOW

HERE = Path(__file__).parents[1] / "hostile"
KINDS = {
    "ran_code": ("sprung", "canary", "pwned"),
    "wrote_outside": ("other.look", "precious", "iterdir"),
    "hung": ("timeout", "moment", "elapsed"),
    "out_of_memory": ("memory", "killed"),
}
"""Words of a failed assertion that tell what kind of failure it is; any other is an internal error."""


@dataclass
class Count:
    """A plugin of pytest's that counts."""

    passed: int = 0
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*KINDS, "internal_errors"), 0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a test."""
        if report.when == "call" and report.passed:
            self.passed += 1
        elif report.failed:
            said = report.longreprtext.lower()
            kind = next((kind for kind, words in KINDS.items() if any(word in said for word in words)), None)
            self.failed[kind or "internal_errors"] += 1


def main() -> int:
    """Runs all of it and tells the figures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    before, count = time.monotonic(), Count()
    # What pytest says goes to standard error: the last line of standard output is for programs.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        code = pytest.main(["-q", "-p", "no:xdist", "-m", "soak or not soak", str(HERE)], plugins=[count])
    finally:
        sys.stdout = stdout
    # One test does all deeds at once.
    inputs = count.passed + sum(count.failed.values()) + len({**DEEDS, **AS_ROOT, **SLOW}) - 2
    seconds = round(time.monotonic() - before, 1)
    print(json.dumps({"what": "hostile inputs", "inputs": inputs, **count.failed, "seconds": seconds}))
    return 0 if code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
