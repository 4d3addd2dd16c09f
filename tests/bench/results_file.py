"""The file that a run of ``scripts/bench`` leaves, and what is in it.

One JSON object; ``schema`` is its version, and is counted up when a name changes its meaning or goes:

* ``schema``: 1
* ``taken``: when, UTC, ISO 8601; ``quick``: whether it was the short way; ``rounds``: how many, where
  nothing says else
* ``machine``: see ``machine.py``; ``disk_in_file``: whether a disk was made for it
* ``repositories``: by name, what each is like (``repositories.Described``); ours are named by their
  number of files
* ``measured``: a list of ``{module, repository, seconds, figures}``. A figure has its unit in its name:
  ``_ms``, ``_s``, ``_mib``, ``_bytes``; ``_ratio`` is how many times as much as what it is held against;
  without a unit it is a count, a name or a yes. ``{median, min, max, rounds}`` may stand for a number.
* ``skipped``: a list of ``{module, repository, why, failed}``; ``failed`` is a mistake, no lack of something
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

SCHEMA = 1
FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"


@dataclass
class Results:
    """What one run measured."""

    taken: str
    quick: bool
    rounds: int
    machine: dict[str, Any]
    disk_in_file: bool = False
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    measured: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns what is in a file; raises ValueError for another schema."""
        row = json.loads(path.read_text(encoding="utf-8"))
        if row.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path} is of another schema than {SCHEMA}: take it again with scripts/bench")
        return cls(**row)

    def write(self, path: Path) -> None:
        """Writes the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, **vars(self)}, indent=1) + "\n", encoding="utf-8")

    def figure(self, module: str, name: str, repository: str | None = None) -> float | None:
        """Returns one number: of *repository*, else of the last one that has it."""
        for row in reversed(self.measured):
            if row["module"] == module and repository in {None, row["repository"]}:
                value = row["figures"].get(name)
                if isinstance(value, dict):
                    value = value.get("median")
                if isinstance(value, int | float):
                    return float(value)
        return None

    def series(self, module: str, name: str) -> list[tuple[int, float]]:
        """Returns a figure over the number of files, smallest repository first."""
        found = {}
        for row in self.measured:
            value = self.figure(module, name, row["repository"]) if row["module"] == module else None
            if value is not None:
                found[int(self.repositories[row["repository"]]["files"])] = value
        return sorted(found.items())
