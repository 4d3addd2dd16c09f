"""Tries all of the fence's table, in a worktree and in a private clone, and tells what came of it.

``python -m tests.soak.fence [--count N]``: the first N things only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.fence_table import CASES, CLONE, Case
from tests.support.fence_world import World


def try_all(root: Path, cases: Iterable[Case], *, private: bool) -> list[tuple[Case, str | None]]:
    """Tries cases one after another; returns what is wrong with each, if anything."""
    world = World(root, private)
    environment = world.build()
    found = []
    for case in cases:
        wrong = world.attempt(case, environment).verdict(case)
        if wrong is not None:
            print(wrong, file=sys.stderr, flush=True)
        found.append((case, wrong))
    return found


def figures(found: Sequence[tuple[Case, str | None]], seconds: float) -> dict[str, object]:
    """Returns the figures of a run. An escape is what was refused or harmless, and changed something."""
    kinds = Counter(case.expected for case, _ in found)
    return {
        "what": "fence",
        "verbs": len(found),
        "refused": kinds["refused"],
        "allowed": kinds["works"],
        "escapes": sum(wrong is not None and case.expected == "refused" for case, wrong in found),
        "hindered": sum(wrong is not None and case.expected == "works" for case, wrong in found),
        "gaps_closed": sum(wrong is not None and case.expected == "gap" for case, wrong in found),
        "known_gaps": [case.shown for case, _ in found if case.expected == "gap"],
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Tries everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=len(CASES) + len(CLONE))
    count = parser.parse_args().count
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found: list[tuple[Case, str | None]] = []
        for name, cases, private in (("worktree", CASES, False), ("branch", CLONE, True)):
            chosen = cases[: max(0, count - len(found))]
            print(f"isolation: {name}, {len(chosen)} things", file=sys.stderr, flush=True)
            (Path(folder) / name).mkdir()
            found += try_all(Path(folder) / name, chosen, private=private)
    print(json.dumps(figures(found, time.monotonic() - started)))
    return int(any(wrong is not None for _, wrong in found))


if __name__ == "__main__":
    sys.exit(main())
