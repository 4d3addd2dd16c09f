"""Keeps in memory what is written for an attempt, until all of it goes into one pack that is kept.

As loose objects they would be flushed one by one, and once more in the pack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.flushing import flush
from stratum_git.git.keeping import KeepingWriter, loose_rows
from stratum_git.git.objects import loose_path
from stratum_git.git.pack_writer import Held, RunWriter, place
from stratum_git.git.packs import entry, packed
from stratum_git.model.ids import Oid

MOST = 32 << 20
"""Bytes that are kept in memory."""
MOST_HELD = 1 << 20
"""Bytes that are, beyond the capture."""


@dataclass
class Gathered:
    """Objects as a pack has them, which only this process has; and those that are in a pack already."""

    rows: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    most: int = MOST
    placed: set[str] = field(default_factory=set)
    kept: dict[str, Path] = field(default_factory=dict)
    """By its id, the pack that each object went into, a path without an ending."""


@dataclass
class GatheringWriter(KeepingWriter):
    """A writer for one attempt, whose objects nobody else sees before :meth:`reveal` or :meth:`sync`.

    One that defers writes to the same collection. For one thread at a time.
    """

    gathered: Gathered = field(default_factory=Gathered)

    def deferring(self) -> GatheringWriter:
        """Returns a writer to the same collection, which the sync of this one takes care of."""
        return GatheringWriter(
            self.repo, self.durable, late=True, memory=self.memory, wrote=self.wrote, gathered=self.gathered
        )

    def reveal(self) -> None:
        """Makes a pack of what was written so far: its files are on the disk, their names after a sync."""
        super().reveal()
        self._place_rows()

    def uncover(self) -> int:
        """Does it with what is gathered."""
        waiting = len(self.gathered.rows)
        self.reveal()
        return waiting + super().uncover()

    def _place_rows(self) -> None:
        rows = self.gathered.rows
        if not rows:
            return
        try:
            pack = place(self.repo, packed(rows, self.repo.object_format), 0, durable=self.durable)
        except OSError as error:
            raise HostError(f"objects could not be written to the disk: {error.strerror}") from error
        self.gathered.placed.update(rows)
        self.gathered.kept |= dict.fromkeys(rows, pack)
        rows.clear()
        self.gathered.size = 0

    def sync(self) -> None:
        """Puts all of it on the disk, and what is owed. For a deferring one the first does that."""
        if self.late:
            return
        asked = {oid for new, known in self._debt.owed for oid in (new, *known)}
        if not asked.isdisjoint(self.gathered.rows):
            # Git looks for what these reach.
            self.reveal()
        super().sync()

    def held_by(self, run: RunWriter, result: Oid) -> Held | None:
        """Has *run* hold all of it for the event of *result*; ``None`` where it has to be on the disk before.

        So it is when git made some of it, or it is much.
        """
        rows, debt = self.gathered.rows, self._debt
        mine = {*debt.oids, *self.wrote}.issubset(rows) and not (debt.owed or debt.unnamed or debt.folders)
        if result not in rows or not mine or self.gathered.placed or self.gathered.size > MOST_HELD:
            return None
        held = run.hold(result, rows)
        if held is not None:
            debt.clear()
        return held

    def _secure(self, oids: Collection[Oid], folders: Iterable[Path]) -> None:
        gathered = self.gathered
        others = sorted({*oids, *self.wrote}.difference(gathered.rows, gathered.placed))
        files = {oid: loose_path(self.repo, oid) for oid in others}
        rows = None if self.repo.shared_permissions else loose_rows(files, self.repo.object_format)
        if rows is None:
            super()._secure(others, folders)
        else:
            gathered.rows |= rows
        self._place_rows()
        if gathered.placed and self.durable:
            flush([self.repo.common_dir / "objects" / "pack"])
        gathered.placed.clear()
        if rows:
            self.memory.forget(files.values())
            for path in files.values():
                path.unlink(missing_ok=True)

    def _write(self, kind: bytes, data: bytes, *, passing: bool = False) -> Oid:
        if self.repo.shared_permissions or passing:
            return super()._write(kind, data, passing=passing)
        store = kind + b" " + str(len(data)).encode() + b"\0" + data
        oid = Oid(hashlib.new(self.repo.object_format, store, usedforsecurity=False).hexdigest())
        gathered = self.gathered
        if oid not in gathered.rows and oid not in gathered.placed:
            row = entry(kind, data)
            gathered.rows[oid] = row
            gathered.size += len(row)
            if gathered.size > gathered.most:
                self._place_rows()
        return oid
