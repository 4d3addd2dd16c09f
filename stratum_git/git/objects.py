"""Objects: written in process, read in batches, and put on the disk before a ref speaks of them.

Starting ``git hash-object`` costs more than the object. A loose object is a file with a fixed form, so it is
written here: to a temporary file, flushed, then linked into place. Where that is not certain to be right (a
repository shared by permissions), git writes it. Git itself flushes no loose object unless it is told to,
and an agent's own commits were not told: what git wrote is found by what a ref is about to reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.errors import BugError, HostError
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when: seconds since the epoch, and the offset as git writes it."""

    name: str
    email: str
    at: float
    tz: str = "+0000"

    def line(self) -> bytes:
        """Returns it as a commit has it."""
        name = _cleaned(self.name) or "unknown"
        return f"{name} <{_cleaned(self.email)}> {int(self.at)} {self.tz}".encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Object:
    """An object as it is stored."""

    oid: Oid
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A line of a tree."""

    mode: str
    type: str
    oid: Oid


@dataclass
class ObjectWriter:
    """Writes objects. With ``durable`` they are on the disk after :meth:`sync`. Safe for several threads."""

    repo: Repository
    durable: bool
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _flushing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _unsynced: set[Path] = field(default_factory=set, repr=False)
    _owed: list[tuple[Oid, tuple[Oid, ...]]] = field(default_factory=list, repr=False)
    _made: set[Oid] = field(default_factory=set, repr=False)

    def blob(self, data: bytes) -> Oid:
        """Writes a blob."""
        return self._write(b"blob", data)

    def tree(self, entries: Mapping[str, tuple[str, Oid]]) -> Oid:
        """Writes a tree of name -> (mode, object)."""
        wrong = [name for name in entries if name in {"", ".", "..", ".git"} or "/" in name or "\0" in name]
        if wrong:
            raise BugError(f"{wrong[0]!r} cannot be a name in a tree")
        rows = sorted((_order(name, mode), name, mode, oid) for name, (mode, oid) in entries.items())
        return self._write(b"tree", b"".join(_row(name, mode, oid) for _, name, mode, oid in rows))

    def commit(
        self,
        tree: Oid,
        parents: Sequence[Oid],
        message: str,
        author: Signature,
        committer: Signature,
        *,
        passing: bool = False,
    ) -> Oid:
        """Writes a commit; a *passing* one no ref will ever reach, so it need not survive a power cut."""
        lines = [f"tree {tree}".encode(), *(f"parent {p}".encode() for p in parents)]
        lines += [b"author " + author.line(), b"committer " + committer.line(), b""]
        text = message.replace("\0", " ").encode("utf-8", "replace")
        return self._write(b"commit", b"\n".join(lines) + b"\n" + text, passing=passing)

    def owe(self, new: Oid, *known: Oid) -> None:
        """Notes that git, not this writer, made what *new* reaches and *known* does not: sync flushes it."""
        if self.durable and new not in known:
            with self._lock:
                self._owed.append((new, known))

    def owe_objects(self, oids: Iterable[Oid]) -> None:
        """Notes that git made these very objects: sync flushes them, without looking for any others."""
        if self.durable:
            with self._lock:
                self._made.update(oids)

    def sync(self) -> None:
        """Flushes what was written since the last call, and what is owed."""
        # One after another: what another thread has just begun to flush may be what this caller waits for.
        with self._flushing:
            with self._lock:
                folders, self._unsynced = self._unsynced, set()
                owed, self._owed = self._owed, []
                made, self._made = self._made, set()
            folders |= _flush_objects(self.repo, made)
            folders |= _flush_reached(self.repo, owed)
            for folder in sorted(folders):
                sync_folder(folder)

    def _write(self, kind: bytes, data: bytes, *, passing: bool = False) -> Oid:
        if self.repo.shared_permissions:
            done = Git(self.repo.root).run("hash-object", "-w", "-t", kind.decode(), "--stdin", stdin=data)
            return Oid(done.stdout.decode().strip())
        store = kind + b" " + str(len(data)).encode() + b"\0" + data
        oid = hashlib.new(self.repo.object_format, store, usedforsecurity=False).hexdigest()
        folder = self.repo.common_dir / "objects" / oid[:2]
        path = folder / oid[2:]
        try:
            if _holds_something(path):
                # Whoever wrote it may not have flushed it.
                self.owe_objects([Oid(oid)])
            else:
                self._place(folder, path, zlib.compress(store, 1), flushed=self.durable and not passing)
        except OSError as error:
            raise HostError(f"an object could not be written to {folder}: {error.strerror}") from error
        return Oid(oid)

    def _place(self, folder: Path, path: Path, data: bytes, *, flushed: bool) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            self._note(folder.parent)
        # git gc removes stale files of this name, should this process die here.
        temporary = folder / f"tmp_obj_{secrets.token_hex(8)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if flushed:
                    os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if flushed:
            self._note(folder)

    def _note(self, folder: Path) -> None:
        if self.durable:
            with self._lock:
                self._unsynced.add(folder)


def flush(repo: Repository, new: Oid) -> None:
    """Puts on the disk whatever *new* reaches and no ref does yet, whoever wrote it."""
    asked = ("rev-list", "--objects", "--no-object-names", new, "--not", "--all")
    for folder in sorted(_flush_objects(repo, _listed(repo.git.run(*asked).stdout))):
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flushes a directory, so that a name just made in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_objects(repo: Repository, names: Sequence[str]) -> tuple[Object | None, ...]:
    """Returns the objects with these names (ids, or ``COMMIT:path``), ``None`` where there is none.

    One git process, however many. A name with a line break is no object.
    """
    if not names:
        return ()
    asked = [name if "\n" not in name else f"{repo.zero}" for name in names]
    stdin = b"".join(os.fsencode(name) + b"\n" for name in asked)
    out = repo.git.run("cat-file", "--batch", stdin=stdin).stdout
    found: list[Object | None] = []
    at = 0
    for _ in asked:
        end = out.index(b"\n", at)
        head = out[at:end].split(b" ")
        at = end + 1
        if len(head) == 3 and head[2].isdigit():
            size = int(head[2])
            found.append(Object(Oid(head[0].decode()), head[1].decode(), out[at : at + size]))
            at += size + 1
        else:
            found.append(None)
    return tuple(found)


def read_tree(repo: Repository, treeish: str) -> dict[str, TreeEntry]:
    """Returns every file of a tree by its path."""
    out = repo.git.run("ls-tree", "-r", "-z", "--full-tree", treeish).stdout
    entries = {}
    for row in out.split(b"\0"):
        if row:
            facts, _, path = row.partition(b"\t")
            mode, kind, oid = facts.decode().split(" ")
            entries[os.fsdecode(path)] = TreeEntry(mode, kind, Oid(oid))
    return entries


def _holds_something(path: Path) -> bool:
    """Returns whether the object is there. A power cut leaves empty ones, which must be written again."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _flush_reached(repo: Repository, owed: Sequence[tuple[Oid, tuple[Oid, ...]]]) -> set[Path]:
    """Flushes the loose objects that are owed; returns the directories that are still to be flushed."""
    if not owed:
        return set()
    # Several debts in one walk: what one of them knows, another may owe, so none is subtracted that is new.
    new = dict.fromkeys(oid for oid, _ in owed)
    known = dict.fromkeys(oid for _, oids in owed for oid in oids if oid not in new)
    stdin = "".join([*(f"{oid}\n" for oid in new), *(f"^{oid}\n" for oid in known)]).encode()
    asked = ("rev-list", "--objects", "--no-object-names", "--stdin")
    return _flush_objects(repo, _listed(repo.git.run(*asked, stdin=stdin).stdout))


def _listed(listing: bytes) -> list[Oid]:
    return [Oid(oid) for oid in listing.decode("ascii").split()]


def _flush_objects(repo: Repository, oids: Iterable[Oid]) -> set[Path]:
    store = repo.common_dir / "objects"
    folders = set()
    for oid in oids:
        path = store / oid[:2] / oid[2:]
        # A packed object is flushed by git; one of an alternate store is not ours.
        with contextlib.suppress(FileNotFoundError):
            _sync_file(path)
            folders |= {path.parent, store}
    return folders


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cleaned(text: str) -> str:
    return "".join(c if c not in "<>\n\r\0" else " " for c in text).strip(" .,:;\"'\\")


def _order(name: str, mode: str) -> bytes:
    """Returns the key by which git sorts a tree: a folder as if its name ended in a slash."""
    return os.fsencode(name) + (b"/" if mode.lstrip("0") == "40000" else b"")


def _row(name: str, mode: str, oid: Oid) -> bytes:
    return mode.lstrip("0").encode() + b" " + os.fsencode(name) + b"\0" + bytes.fromhex(oid)
