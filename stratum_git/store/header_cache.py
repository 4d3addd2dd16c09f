"""What was read of flows that are over, so that it is not read again: two files that may be deleted any time.

``headers`` has a line for each commit that a flow came to its end with. ``open`` says which of the packed
flows are not over, and of which ``packed-refs`` that is true: however many are over, nobody reads them to
find the others. A commit says the same for ever, so what is in there is either right or not asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.ref_files import Stamp
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json, Oid, RefName

VERSION = "1"
SPARE = 2
"""How many times as long as needed the file of headers may become before it is written anew."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A header that was read before: when its flow began, seconds since the epoch, and all of it as JSON."""

    started: float
    row: bytes


def known_rows(repo: Repository) -> dict[Oid, Remembered]:
    """Returns what is remembered: for the commit of a flow's last event, its header."""
    try:
        data = (repo.common_dir / "stratum" / "headers").read_bytes()
    except OSError:
        return {}
    version, found = VERSION.encode(), {}
    for line in data.split(b"\n"):
        row = line.split(b" ", 3)
        with suppress(ValueError):
            if len(row) == 4 and row[0] == version:
                found[Oid(row[1].decode("ascii"))] = Remembered(float(row[2]), row[3])
    return found


def remember_rows(
    repo: Repository, fresh: Mapping[Oid, dict[str, Json]], kept: Mapping[Oid, Remembered], wanted: int
) -> None:
    """Adds *fresh* to what is remembered; *wanted* of *kept*, which is all there is, are still asked for."""
    lines = [_line(tip, row) for tip, row in fresh.items()]
    path = repo.common_dir / "stratum" / "headers"
    # Whoever may not write here does without: it is a matter of time only.
    with suppress(OSError):
        if len(kept) > SPARE * (wanted + 100):
            _replace(path, b"".join(lines))
        elif lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "ab") as file:
                file.write(b"".join(lines))


def known_open(repo: Repository, stamp: Stamp) -> dict[RefName, Oid] | None:
    """Returns the packed flows that are not over, if that is known of the ``packed-refs`` of *stamp*."""
    try:
        row = json.loads((repo.common_dir / "stratum" / "open").read_bytes())
        if row["version"] != VERSION or row["packed"] != list(stamp):
            return None
        return {RefName(ref): Oid(tip) for ref, tip in row["open"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember_open(repo: Repository, stamp: Stamp, found: Mapping[RefName, Oid]) -> None:
    """Remembers that."""
    row = {"version": VERSION, "packed": list(stamp), "open": dict(found)}
    with suppress(OSError):
        _replace(repo.common_dir / "stratum" / "open", json.dumps(row).encode())


def _line(tip: Oid, row: dict[str, Json]) -> bytes:
    return f"{VERSION} {tip} {row['started']!r} {json.dumps(row, ensure_ascii=True)}\n".encode()


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}-{os.urandom(8).hex()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
