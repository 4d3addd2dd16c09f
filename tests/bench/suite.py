"""Runs what measures: every module of this folder that has a function ``measure``.

``measure(repository: Path, rounds: int) -> dict`` returns figures, with the unit in their names:
``lease_ms``, ``lease_ratio``, ``gits``, ``peak_mib``. The repository has a clean checkout of its branch,
belongs to nobody else meanwhile, and has to be left as it was. Besides, a module may say

* ``FILES``: the sizes of repositories that it makes sense for, of ``repositories.SIZES``; without it, all;
* ``MOST_ROUNDS``: more rounds than these are not worth their time;
* ``ROUNDS``: as many, however many the others do, since one takes next to no time.

It raises :class:`UnmeasuredError` where this machine lacks what is needed. Each module runs in a process of
its own, with an empty home and no settings of the user's.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PREFIX = "FIGURES "
LONGEST = 600.0
"""Seconds after which a module is ended."""


class UnmeasuredError(Exception):
    """This cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """What came of one module on one repository: figures, or why there are none."""

    module: str
    repository: str
    seconds: float
    figures: dict[str, Any] | None
    why: str = ""
    failed: bool = False


def modules() -> tuple[str, ...]:
    """Returns the names of what can measure, without importing any of it."""
    found = []
    for path in sorted(HERE.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in body):
            found.append(path.stem)
    return tuple(found)


WITHOUT: Mapping[str, tuple[tuple[int, ...], int]] = {
    # Module: (sizes, rounds), of those that do not say so themselves.
    "state": ((250,), 30),
    "scheduling": ((250,), 1),
}


def sizes(module: str) -> tuple[int, ...] | None:
    """Returns the sizes that a module wants, where it says so in a plain tuple of numbers."""
    for node in ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "FILES" for t in node.targets
        ):
            return tuple(ast.literal_eval(node.value))
    return WITHOUT[module][0] if module in WITHOUT else None


def run(module: str, repository: Path, name: str, rounds: int, scratch: Path) -> Outcome:
    """Runs one module on one repository, in a process of its own."""
    home = scratch / f"{module}-{name}"
    (home / "tmp").mkdir(parents=True)
    before, began = state_of(repository), time.monotonic()
    words = [sys.executable, "-m", "tests.bench.suite", module, str(repository), str(rounds)]
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    why = ""
    try:
        said = process.communicate(timeout=LONGEST)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, why = process.communicate()[0], f"it took more than {LONGEST:g} s"
    seconds = round(time.monotonic() - began, 1)
    told = [line for line in os.fsdecode(said).splitlines() if line.startswith(PREFIX)]
    answer = json.loads(told[-1].removeprefix(PREFIX)) if told else {}
    left = "it left the repository changed: " + _difference(before, state_of(repository))
    if "figures" not in answer:
        skipped = str(answer.get("why", ""))
        why = skipped or why or "it ended without figures: " + os.fsdecode(said)[-1500:]
        return Outcome(module, name, seconds, None, why, failed=not skipped)
    spoilt = before != state_of(repository)
    return Outcome(module, name, seconds, answer["figures"], left if spoilt else "", failed=spoilt)


def environment(home: Path) -> dict[str, str]:
    """Returns the environment of what measures: who commits, and *home*, without anybody's settings."""
    who = {f"GIT_{one}_{two}": "bench@x" for one in ("AUTHOR", "COMMITTER") for two in ("NAME", "EMAIL")}
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_", "STRATUM_"))
    }
    return {
        **kept,
        **who,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "XDG_STATE_HOME": str(home / "state"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(ROOT),
    }


def state_of(repository: Path) -> dict[str, str]:
    """Returns what has to be as it was: refs, worktrees, the checkout."""
    asked = {
        "HEAD": ("symbolic-ref", "-q", "HEAD"),
        "refs": ("for-each-ref", "--format=%(objectname) %(refname)"),
        "worktrees": ("worktree", "list", "--porcelain"),
        "status": ("status", "--porcelain", "-uall"),
    }
    return {name: _git(repository, words) for name, words in asked.items()}


def _git(repository: Path, words: tuple[str, ...]) -> str:
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "--no-optional-locks", *words],
        cwd=repository,
        env=os.environ | plain,
        capture_output=True,
        check=False,
    )
    return os.fsdecode(done.stdout)


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    rows = []
    for name, old in before.items():
        rows += [f"{name}: +{line}" for line in after[name].splitlines() if line not in old.splitlines()]
        rows += [f"{name}: -{line}" for line in old.splitlines() if line not in after[name].splitlines()]
    return "; ".join(rows[:10])


def main(module: str, repository: str, rounds: str) -> None:
    """Measures here, and prints the figures as the last line."""
    try:
        loaded = importlib.import_module(f"tests.bench.{module}")
        count = min(int(rounds), getattr(loaded, "MOST_ROUNDS", int(rounds)))
        count = getattr(loaded, "ROUNDS", WITHOUT[module][1] if module in WITHOUT else count)
        answer: dict[str, Any] = {"figures": loaded.measure(Path(repository), count)}
    except UnmeasuredError as error:
        answer = {"why": str(error)}
    except Exception:  # noqa: BLE001 - whatever it is, the others are measured
        traceback.print_exc()
        raise SystemExit(1) from None
    print(PREFIX + json.dumps(answer), flush=True)


if __name__ == "__main__":
    # Under its proper name, so that what is raised here is what the modules raise.
    importlib.import_module("tests.bench.suite").main(*sys.argv[1:])
