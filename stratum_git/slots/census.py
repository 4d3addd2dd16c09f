"""Which slots there are, by their records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stratum_git.slots.occupancy import Vacant, read_record

NAME = re.compile(r"(?:slot|clone)-[0-9a-f]{8}")


def places(folder: Path) -> list[Path]:
    """Returns where the slots in *folder* are that have a record."""
    names = (p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
    return [folder / name for name in sorted(names) if NAME.fullmatch(name)]


def nameless(folder: Path) -> list[Path]:
    """Returns what a process that was killed began to make, or to drop, and of which no record tells."""
    names = {path.name.partition(".")[0] for path in folder.iterdir()}
    recorded = {path.name for path in places(folder)}
    return [folder / name for name in sorted(names - recorded) if NAME.fullmatch(name)]


def vacancies(folder: Path) -> Iterator[tuple[Path, Vacant]]:
    """Yields the worktrees that nobody's work is in, and their records."""
    for path in places(folder):
        record = read_record(path)
        if isinstance(record, Vacant) and record.kind == "worktree":
            yield path, record
