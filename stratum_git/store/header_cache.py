"""What was read of flows that are over, so that it is not read again: two files that may be deleted any time.

``headers`` has a line for each commit that a flow came to its end with. ``open`` says which of the packed
flows are not over, and of which ``packed-refs`` that is true: however many are over, nobody reads them to
find the others. A commit says the same for ever, so what is in there is either right or not asked for.
Neither ``pathlib`` nor ``dataclasses`` is loaded: hooks read this.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stratum_git.git.ref_files import Stamp
    from stratum_git.model.ids import Json, Oid, RefName
else:
    Oid = RefName = str

VERSION = "1"
SPARE = 2
"""How many times as long as needed the file of headers may become before it is written anew."""


class Remembered:
    """A header that was read before: when its flow began, seconds since the epoch, and all of it as JSON."""

    __slots__ = ("row", "started")

    def __init__(self, started: float, row: bytes) -> None:
        self.started = started
        self.row = row


def known_rows(common_dir: str) -> dict[Oid, Remembered]:
    """Returns what is remembered: for the commit of a flow's last event, its header."""
    try:
        with open(_path(common_dir, "headers"), "rb") as file:
            data = file.read()
    except OSError:
        return {}
    version, found = VERSION.encode(), {}
    for line in data.split(b"\n"):
        row = line.split(b" ", 3)
        try:
            if len(row) == 4 and row[0] == version:
                found[Oid(row[1].decode("ascii"))] = Remembered(float(row[2]), row[3])
        except ValueError:
            continue
    return found


def remember_rows(
    common_dir: str, fresh: Mapping[Oid, dict[str, Json]], kept: Mapping[Oid, Remembered], wanted: int
) -> None:
    """Adds *fresh* to what is remembered; *wanted* of *kept*, which is all there is, are still asked for."""
    lines = [_line(tip, row) for tip, row in fresh.items()]
    path = _path(common_dir, "headers")
    # Whoever may not write here does without: it is a matter of time only.
    try:
        if len(kept) > SPARE * (wanted + 100):
            _replace(path, b"".join(lines))
        elif lines:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "ab") as file:
                file.write(b"".join(lines))
    except OSError:
        return


def known_open(common_dir: str, stamp: Stamp) -> dict[RefName, Oid] | None:
    """Returns the packed flows that are not over, if that is known of the ``packed-refs`` of *stamp*."""
    try:
        with open(_path(common_dir, "open"), "rb") as file:
            row = json.loads(file.read())
        if row["version"] != VERSION or row["packed"] != list(stamp):
            return None
        return {RefName(ref): Oid(tip) for ref, tip in row["open"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember_open(common_dir: str, stamp: Stamp, found: Mapping[RefName, Oid]) -> None:
    """Remembers that."""
    row = {"version": VERSION, "packed": list(stamp), "open": dict(found)}
    try:
        _replace(_path(common_dir, "open"), json.dumps(row).encode())
    except OSError:
        return


def _line(tip: Oid, row: dict[str, Json]) -> bytes:
    return f"{VERSION} {tip} {row['started']!r} {json.dumps(row, ensure_ascii=True)}\n".encode()


def _path(common_dir: str, name: str) -> str:
    return os.path.join(common_dir, "stratum", name)


def _replace(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}-{os.urandom(8).hex()}"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
