"""All the long proofs, one after another, and their figures as a table: ``scripts/soak [--short] [NAME...]``.

Each is a module here that prints one JSON object of figures as its last line, and can be run by itself:
``python -m tests.soak.NAME``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

PROOFS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sweep": ((), ("--count", "12")),
    "kills": (("--count", "1000"), ("--count", "30")),
    "private": (("--count", "200"), ("--count", "8")),
    "overlays": (("--count", "400"), ("--count", "20")),
    "locks": (("--count", "200"), ("--count", "10")),
    "power": (("--count", "100"), ("--count", "10")),
    "full_disk": (("--count", "60"), ("--count", "6")),
    "ledger": ((), ()),
    "users_git": (("--count", "50"), ("--count", "3")),
    "cold_starts": (("--count", "500"), ("--count", "5")),
    "clock": (("--count", "50"), ("--count", "2")),
    "mix": (("--seconds", "300"), ("--seconds", "10")),
    "fence": ((), ("--count", "80")),
    "hostile": ((), ()),
    "fuzz": (("--seconds", "600"), ("--seconds", "20")),
}
"""What each is given when it is run for long, and when for short."""


def main() -> int:
    """Runs the proofs that were named, or all; returns 1 when one of them fails."""
    asked = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    asked.add_argument("names", nargs="*", metavar="NAME", choices=[[], *PROOFS], help=", ".join(PROOFS))
    asked.add_argument("--short", action="store_true", help="a few of each, in minutes")
    options = asked.parse_args()
    rows = [proven(name, short=options.short) for name in options.names or PROOFS]
    print(table(rows))
    return int(any(row["exit"] for row in rows))


def proven(name: str, *, short: bool) -> dict[str, object]:
    """Runs one proof and returns its figures."""
    began = time.monotonic()
    command = [sys.executable, "-m", f"tests.soak.{name}", *PROOFS[name][short]]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], check=False
    )
    lines = done.stdout.strip().splitlines()
    try:
        figures = dict(json.loads(lines[-1]))
    except (IndexError, ValueError):
        figures = {"what": "ended without figures"}
    row = {"name": name, "exit": done.returncode, "took": round(time.monotonic() - began), **figures}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def table(rows: list[dict[str, object]]) -> str:
    """Returns the figures as a Markdown table."""
    lines = ["| proof | figures | well |", "|---|---|---|"]
    for row in rows:
        told = {k: v for k, v in row.items() if k not in {"name", "exit", "what", "took", "seconds"}}
        figures = ", ".join(f"{key.replace('_', ' ')} {json.dumps(value)}" for key, value in told.items())
        well = "no" if row["exit"] else "yes"
        lines.append(f"| `{row['name']}`: {row['what']} | {figures}; {row['took']} s | {well} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
