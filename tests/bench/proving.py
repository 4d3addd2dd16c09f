"""What it costs to test a landing, measured; by hand: ``python -m tests.bench.proving``.

Eight tasks of which one is a culprit, four slots, a check of two seconds: serial, speculative and batch, one
after another, each on a fresh repository. The seconds are those from the last report of a task to the
landing. All the while the target is looked at: at every instant its tree has to pass the check. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SPEC = """\
version: "0.4"
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {{task.id}}"
        max_concurrent: {slots}
        require: 1
        on_quorum: keep
        land_mode: {mode}
        land_verify: "echo x >> {log}; sleep {check}; ! test -e bad.txt"
"""
AGENT = """\
#!/bin/sh
echo x > "$STRATUM_TASK.txt"
"""
HELD_TO = 0.4


class Place:
    """A scratch folder with a repository of twenty files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repo = root / "repo"
        self.environment = os.environ | {
            "XDG_STATE_HOME": str(root / "state"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{it}": "bench@x" for who in ("AUTHOR", "COMMITTER") for it in ("NAME", "EMAIL")},
        }
        self.repo.mkdir()
        for number in range(20):
            (self.repo / f"file{number}").write_text(f"{number}\n" * 20)
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
            subprocess.run(["git", *words], cwd=self.repo, env=self.environment, check=True)
        (root / "agent").write_text(AGENT)
        (root / "agent").chmod(0o755)

    def git(self, *words: str) -> str:
        """Returns what git says."""
        done = subprocess.run(
            ["git", *words], cwd=self.repo, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def run(self, mode: str, options: argparse.Namespace) -> dict[str, object]:
        """Lands the tasks in a mode, and returns the figures."""
        log = self.root / "ran"
        given = {"slots": options.slots, "check": options.check, "mode": mode, "log": log}
        (self.root / "spec.yaml").write_text(SPEC.format(**given))
        names = [f"t{number}" for number in range(1, options.tasks + 1)]
        names[options.culprit - 1] = "bad"
        (self.root / "tasks.json").write_text(json.dumps([{"id": name} for name in names]))
        seen: dict[str, None] = {}
        over = threading.Event()
        looking = threading.Thread(target=self._look, args=(seen, over))
        looking.start()
        agent = f"default={self.root / 'agent'}"
        words = ("run", "../spec.yaml", "--quiet", "--input", "tasks=@../tasks.json", "--agent", agent)
        done = subprocess.run(
            [sys.executable, "-m", "stratum_git", *words],
            cwd=self.repo, env=self.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        over.set()
        looking.join()
        if done.returncode:
            raise SystemExit(f"{mode} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        red = [oid for oid in seen if "bad.txt" in self.git("ls-tree", "--name-only", oid).split()]
        landed = self.git("log", "--format=%s", "main").splitlines()
        return {
            "mode": mode,
            "seconds": round(self._seconds(), 2),
            "tests": len(log.read_text().split()),
            "landed": len(landed) - 1,
            "targets_seen": len(seen),
            "red_targets_seen": len(red),
        }

    def _look(self, seen: dict[str, None], over: threading.Event) -> None:
        ref = self.repo / ".git/refs/heads/main"
        while not over.wait(0.001):
            seen[ref.read_text().strip()] = None

    def _seconds(self) -> float:
        """Returns how long the landing took: since the last task was reported."""
        ref = self.git("for-each-ref", "--format=%(refname)", "refs/stratum/flows")
        rows = self.git("log", "--first-parent", "--format=%T", ref).splitlines()
        found = [json.loads(self.git("show", f"{tree}:state.json"))["event"] for tree in rows[:-1]]
        at = {event["type"]: float(event["at"]) for event in reversed(found)}
        return at["landed"] - at["task_reported"]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--check", type=float, default=2.0, help="seconds that the check takes")
    parser.add_argument("--culprit", type=int, default=5, help="which task it is")
    options = parser.parse_args()
    rows = []
    for mode in ("serial", "speculative", "batch"):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(Place(Path(scratch)).run(mode, options))
    serial = float(str(rows[0]["seconds"]))
    for row in rows:
        row["of_serial"] = round(float(str(row["seconds"])) / serial, 3)
    good = all(row["landed"] == options.tasks - 1 and not row["red_targets_seen"] for row in rows)
    figures = {"rows": rows, "held_to": HELD_TO, "holds": good and rows[1]["of_serial"] <= HELD_TO}  # type: ignore[operator]
    print(json.dumps(figures, indent=2))
    raise SystemExit(0 if figures["holds"] else 1)


if __name__ == "__main__":
    main()
