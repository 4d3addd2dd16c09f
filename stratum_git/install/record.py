"""What an installation changed, so that it can be taken back to the byte: the files as they were before.

It lies in the user's state folder and is written before anything else is. Installations are one at a time.
Where there is no record, such as after a clone of a project that has stratum-git in it, own entries are found
by what they say.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.errors import HostError, UserError
from stratum_git.install import disk

PATIENCE = 30.0
"""Seconds that one installation waits for another."""


@dataclass(frozen=True, slots=True)
class Row:
    """A file: digests of what it was before and of what it was made; ``None`` is no file."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """What an installation changed: files by their paths, and the folders that it made."""

    files: Mapping[str, Row] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


class BadRecordError(UserError):
    """The record of an installation cannot be read."""


@dataclass(frozen=True, slots=True)
class Records:
    """The records of all installations of a user, below *folder*."""

    folder: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other installations out; raises HostError when another one does not end."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(self.folder / "lock", thread_local=False, mode=0o600).acquire(timeout=PATIENCE)
        except Timeout as error:
            raise HostError(f"another installation is under way, and holds {self.folder / 'lock'}") from error
        except OSError as error:
            raise HostError(f"{self.folder} cannot be used: {error.strerror}") from error
        with lock:
            yield

    def path(self, scope: str, root: Path) -> Path:
        """Returns where the record of an installation is."""
        return self.folder / f"{scope}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}.json"

    def read(self, scope: str, root: Path) -> Record:
        """Returns the record of an installation, an empty one where there is none; raises BadRecordError."""
        path = self.path(scope, root)
        try:
            data = json.loads(path.read_bytes())
            files = {name: Row(row["before"], row["after"]) for name, row in data["files"].items()}
            return Record(files, tuple(data["folders"]))
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            hint = f"move {path} away: then what is ours is found by what it says"
            raise BadRecordError(f"the record {path} cannot be read: {error}", hint=hint) from error

    def write(self, scope: str, root: Path, record: Record, kept: Mapping[str, bytes]) -> None:
        """Writes a record, and before it the files that it speaks of, by their digests."""
        for digest, data in kept.items():
            place = self._kept(digest)
            if not place.exists():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                disk.write(place, data, secret=True)
        files = {
            name: {"before": row.before, "after": row.after} for name, row in sorted(record.files.items())
        }
        row = {"scope": scope, "root": str(root), "folders": sorted(record.folders), "files": files}
        disk.write(self.path(scope, root), json.dumps(row, indent=2).encode() + b"\n", secret=True)

    def kept(self, digest: str) -> bytes:
        """Returns a file as it was before; raises BadRecordError when it is damaged."""
        place = self._kept(digest)
        try:
            data = place.read_bytes()
        except OSError as error:
            raise BadRecordError(f"the backup {place} cannot be read: {error.strerror}") from error
        if digest_of(data) != digest:
            raise BadRecordError(f"the backup {place} is damaged", hint="mend the file by hand")
        return data

    def forget(self, scope: str, root: Path) -> None:
        """Deletes a record, and the files that no other one speaks of."""
        disk.remove(self.path(scope, root))
        wanted: set[str] = set()
        for path in self.folder.glob("*-*.json"):
            with suppress(OSError, ValueError):
                wanted |= {str(row["before"]) for row in json.loads(path.read_bytes())["files"].values()}
        for place in (self.folder / "before").glob("*"):
            if place.name not in wanted:
                disk.remove(place)
        disk.remove_empty([self.folder / "before"])

    def _kept(self, digest: str) -> Path:
        return self.folder / "before" / digest


def digest_of(data: bytes) -> str:
    """Returns what a file is recognised by."""
    return hashlib.sha256(data).hexdigest()
