"""Writes what belongs together, as the objects of an event do, as one small pack.

That is two files and a directory to flush, where loose objects are a file and a directory each. Beside it
lies a file ``.keep``: as long as that is there, no git deletes the pack, or takes objects out of it, whoever
runs ``gc``, ``prune`` or ``repack`` while no ref has them yet. ``git/compaction.py`` makes few packs of many.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.blank_files import BlankFiles
from stratum_git.git.flushing import flush, flush_data
from stratum_git.git.journalled import keeps_order
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.packs import Packed, entry, packed
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field

MARK = "57a7"
"""How the names of our packs begin, after ``pack-``; a digit follows, how often it was put together."""
WHY = b"stratum-git: these objects belong to events; it lets go of the pack by itself\n"


@dataclass(eq=False)
class Held:
    """Objects in memory alone, as a pack has them, and the pack that they are in once somebody wants them."""

    rows: Mapping[str, bytes]
    pack: Path | None = None


@dataclass
class PackWriter(ObjectWriter):
    """An object writer whose objects come to be together, at :meth:`reveal`. Safe for several threads."""

    made: list[Path] = field(default_factory=list)
    """The packs that it made, by their paths without an ending."""
    blanks: BlankFiles = field(default_factory=BlankFiles, repr=False)
    _unsure: bool = False
    _entries: dict[str, bytes] = field(default_factory=dict, repr=False)
    _taken: list[Held] = field(default_factory=list, repr=False)

    def take(self, held: Iterable[Held]) -> None:
        """Has what others held come to be with what is written here."""
        with self._lock:
            for one in held:
                self._entries |= one.rows
                self._taken.append(one)

    def reveal(self) -> None:
        """Makes a pack of what was written: its files are on the disk, their names are after :meth:`sync`."""
        self._reveal(())

    def reveal_with(self, value: int, folder: str) -> None:
        """Does what :meth:`sync` does, and puts *value* on the disk, an open file: all with one wait for it.

        The name of that file is to be made in *folder* next, and to be flushed. Where the disk keeps the
        order of names, those made here are on it then, and not before.
        """
        self._reveal((value,))
        with self._flushing:
            if self._unsure and keeps_order(f"{self.repo.common_dir}/objects/pack", folder):
                self._unsure = False
        self.sync()

    def _reveal(self, beside: Sequence[int]) -> None:
        super().reveal()
        with self._flushing:
            with self._lock:
                entries, taken = dict(self._entries), tuple(self._taken)
            try:
                if not entries:
                    flush_data(beside if self.durable else ())
                    return
                content = packed(entries, self.repo.object_format)
                path = place(self.repo, content, 0, durable=self.durable, blanks=self.blanks, beside=beside)
            except OSError as error:
                raise HostError(f"objects could not be written to the disk: {error.strerror}") from error
            with self._lock:
                self.made.append(path)
                self._unsure = self.durable
                for oid in entries:
                    del self._entries[oid]
                for one in taken:
                    one.pack = path
                self._taken = [one for one in self._taken if one.pack is None]

    def uncover(self) -> int:
        """Does it with what has no name yet as well."""
        waiting = len(self._entries)
        self.reveal()
        return waiting + super().uncover()

    def sync(self) -> None:
        """Flushes what was written since the last call."""
        self.reveal()
        with self._flushing:
            with self._lock:
                unsure, self._unsure = self._unsure, False
            try:
                if unsure:
                    flush([self.repo.common_dir / "objects" / "pack"])
            except OSError as error:
                with self._lock:
                    self._unsure = True
                raise HostError(f"objects could not be flushed to the disk: {error.strerror}") from error
        super().sync()

    def _write(self, kind: bytes, data: bytes, *, passing: bool = False) -> Oid:
        if passing or self.repo.shared_permissions:
            # No pack is to keep what nobody needs; and what others may read and write is git's to decide.
            return super()._write(kind, data, passing=passing)
        store = kind + b" " + str(len(data)).encode() + b"\0" + data
        oid = Oid(hashlib.new(self.repo.object_format, store, usedforsecurity=False).hexdigest())
        if oid not in self._entries:
            row = entry(kind, data)
            with self._lock:
                self._entries[oid] = row
        return oid


@dataclass
class RunWriter(ObjectWriter):
    """An object writer of which whatever is put off comes to be in a pack: a landing, the base of a task.

    It also holds what attempts left until the event is written that speaks of it: they are one pack then, and
    the disk is waited for once. Who is killed before loses nothing, since the slot still has it.
    """

    _late: list[weakref.ref[PackWriter]] = field(default_factory=list, repr=False)
    _held: dict[Oid, Held] = field(default_factory=dict, repr=False)
    _unsure: bool = False
    _handing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def hold(self, result: Oid, rows: Mapping[str, bytes]) -> Held | None:
        """Holds the objects that *result* is made of; ``None`` where others like them are held already."""
        with self._handing:
            if result in self._held:
                return None
            self._held[result] = held = Held(dict(rows))
            return held

    def give(self, results: Iterable[Oid]) -> list[Held]:
        """Returns what is held of *results*: whoever asks writes it, and flushes it, before it is named."""
        with self._handing:
            return [held for result in results if (held := self._held.pop(result, None)) is not None]

    def sync(self) -> None:
        """Flushes what was written, and what was held until somebody wanted to read it."""
        with self._handing:
            unsure, self._unsure = self._unsure, False
            try:
                if unsure and self.durable:
                    flush([self.repo.common_dir / "objects" / "pack"])
            except OSError as error:
                self._unsure = True
                raise HostError(f"objects could not be flushed to the disk: {error.strerror}") from error
        super().sync()

    def deferring(self) -> PackWriter:
        """Returns a late writer for the same repository; what it writes is one pack for each sync."""
        late = PackWriter(self.repo, self.durable, late=True, memory=self.memory)
        with self._lock:
            self._late = [*(one for one in self._late if one() is not None), weakref.ref(late)]
        return late

    def uncover(self) -> int:
        """Does it with what late writers have: who is to read it need not know whose it is."""
        with self._lock:
            late = [one for known in self._late if (one := known()) is not None]
        return sum(one.uncover() for one in late) + self._reveal_held() + super().uncover()

    def _reveal_held(self) -> int:
        # Whoever writes the event of one of these waits until it is there.
        with self._handing:
            held = tuple(self._held.values())
            rows = {oid: row for one in held for oid, row in one.rows.items()}
            if not rows:
                return 0
            try:
                path = place(self.repo, packed(rows, self.repo.object_format), 0, durable=self.durable)
            except OSError as error:
                raise HostError(f"objects could not be written to the disk: {error.strerror}") from error
            self._held.clear()
            self._unsure = True
            for one in held:
                one.pack = path
            return len(rows)


def place(
    repo: Repository,
    content: Packed,
    level: int,
    *,
    durable: bool,
    blanks: BlankFiles | None = None,
    beside: Sequence[int] = (),
) -> Path:
    """Writes a pack that nobody deletes; returns its path without an ending. Raises OSError.

    Its files are of *blanks*, which may have some that are made already. What was written in *beside*, new
    files that are open, is on the disk then as well.
    """
    name = _fresh_name(repo, level)
    make, handles = (blanks or BlankFiles()).make, list[int]()
    try:
        # Git knows a pack by its index: before that has its name, the others are nothing to anybody. But who
        # repacks takes note of packs without a `.keep` as he begins, and deletes them when he is done.
        handles.append(_filled(make(name + ".pack-new", 0o444), content.pack))
        handles.append(_filled(make(name + ".idx-new", 0o444), content.index))
        if durable:
            flush_data([*handles, *beside])
        _keep(repo, name)
        for ending in (".pack", ".idx"):
            os.rename(f"{name}{ending}-new", name + ending)  # noqa: PTH104 - texts, since somebody waits
    except BaseException:
        _drop(name, ".idx-new", ".pack-new", ".idx", ".pack", ".keep")
        raise
    finally:
        for handle in handles:
            os.close(handle)
    return Path(name)


def adopt(repo: Repository, made: Path, level: int) -> Path:
    """Takes a pack that git made elsewhere on the same disk, as :func:`place` does."""
    name = _fresh_name(repo, level)
    flush([made.with_suffix(".pack"), made.with_suffix(".idx")])
    try:
        _keep(repo, name)
        made.with_suffix(".pack").rename(f"{name}.pack")
        made.with_suffix(".idx").rename(f"{name}.idx")
    except BaseException:
        _drop(name, ".pack", ".keep")
        raise
    return Path(name)


def _fresh_name(repo: Repository, level: int) -> str:
    size = len(repo.zero) - len(MARK) - 1
    return f"{repo.common_dir}/objects/pack/pack-{MARK}{level}{secrets.token_hex(size)[:size]}"


def _keep(repo: Repository, name: str) -> None:
    """Makes the file that keeps a pack: a further name of one that is there, since that needs no new file."""
    source = repo.common_dir / "stratum" / "keep"
    for _ in range(2):
        try:
            os.link(source, f"{name}.keep")
        except FileNotFoundError:
            _make_source(source)
        except OSError:
            break
        else:
            return
    # So many names, or any second one, this disk does not give.
    os.close(_filled(_new(f"{name}.keep"), WHY))


def _drop(name: str, *endings: str) -> None:
    for ending in endings:
        with contextlib.suppress(OSError):
            Path(name + ending).unlink()


def _make_source(source: Path) -> None:
    source.parent.mkdir(parents=True, exist_ok=True)
    temporary = source.with_name(f"keep-{secrets.token_hex(8)}")
    handle = _filled(_new(str(temporary)), WHY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(source)


def _new(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)


def _filled(handle: int, data: bytes) -> int:
    """Writes to a file that was made just now; returns it."""
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
    except BaseException:
        os.close(handle)
        raise
    return handle
