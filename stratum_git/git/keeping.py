"""Has what an attempt left in a pack that is kept, before anything speaks of it.

Git writes the files of a slot as loose objects, and no ref has them before the event is recorded. A
``git prune --expire=now`` of the user's that has begun before deletes them even later, and only the slot
has what was in them. Out of a pack with a ``.keep`` no git takes anything.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.errors import StratumError
from stratum_git.git.compaction import alone, packed_by_git
from stratum_git.git.flushing import flush
from stratum_git.git.memory import Memory
from stratum_git.git.objects import ObjectWriter, loose_path
from stratum_git.git.pack_writer import place
from stratum_git.git.packs import KINDS, entry, packed
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

SMALL = 256 * 1024
"""Bytes of a loose object that is packed in process."""
MANY = 512
"""Objects that are."""
LEVEL = 2
"""The level of a pack that git makes: its objects are not whole, so only git may join it with others."""
TRIES = 3


@dataclass
class KeepingWriter(ObjectWriter):
    """An object writer for one attempt: after :meth:`sync` nobody's git deletes what it made or is owed.

    Where no pack can be made the objects are flushed as they are. What one attempt's objects lack is no
    other's matter, so each has a writer of its own; *memory* is that of the writer it stands in for.
    """

    wrote: set[Oid] = field(default_factory=set)

    def deferring(self) -> KeepingWriter:
        """Returns a late writer; what it writes is kept by the sync of this one."""
        return KeepingWriter(self.repo, self.durable, late=True, memory=self.memory, wrote=self.wrote)

    def _write(self, kind: bytes, data: bytes, *, passing: bool = False) -> Oid:
        oid = super()._write(kind, data, passing=passing)
        self.wrote.add(oid)
        return oid

    def _secure(self, oids: Collection[Oid], folders: Iterable[Path]) -> None:
        every = {*oids, *self.wrote}
        if self.late or self.repo.shared_permissions or not every:
            super()._secure(oids, folders)
            return
        for _ in range(TRIES):
            with suppress(StratumError, OSError):
                keep(self.repo, every, self.memory)
                self.wrote.clear()
                return
            # Of what was deleted in between, that is back which is remembered.
            self.heal()
        super()._secure(every, folders)


def keep(repo: Repository, oids: Iterable[Oid], memory: Memory) -> None:
    """Puts objects, loose or not, into a pack that no git touches; it is on the disk, and the files go.

    Raises StratumError or OSError when one of them is not there, or there is no room.
    """
    files = {oid: loose_path(repo, oid) for oid in sorted(oids)}
    rows = loose_rows(files, repo.object_format)
    if rows is None:
        with alone(repo, wait=True):
            made = packed_by_git(repo, files, LEVEL)
    else:
        made = place(repo, packed(rows, repo.object_format), 0, durable=True)
    flush([made.parent])
    memory.forget(files.values())
    for path in files.values():
        path.unlink(missing_ok=True)


def loose_rows(files: dict[Oid, Path], object_format: str) -> dict[str, bytes] | None:
    """Returns loose objects as a pack has them; ``None`` when git has to pack them."""
    if len(files) > MANY:
        return None
    rows = {}
    try:
        for oid, path in files.items():
            if path.stat().st_size > SMALL:
                return None
            store = zlib.decompress(path.read_bytes())
            head, _, data = store.partition(b"\0")
            kind = head.partition(b" ")[0]
            if (
                kind not in KINDS
                or hashlib.new(object_format, store, usedforsecurity=False).hexdigest() != oid
            ):
                return None
            rows[str(oid)] = entry(kind, data)
    except (FileNotFoundError, zlib.error):
        return None
    return rows
