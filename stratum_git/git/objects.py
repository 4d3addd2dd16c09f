"""Objects: written in process, read in batches, and put on the disk before a ref speaks of them.

Starting ``git hash-object`` costs more than the object. A loose object is a file with a fixed form, so it is
written here: to a temporary file that is flushed and then renamed; by git where that is not sure to be right
(a repository shared by permissions). Git itself flushes no loose object unless it is told to, and an agent's
own commits were not told: what git wrote is found by what a ref is about to reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path

from stratum_git.errors import BugError, HostError
from stratum_git.git.debt import Debt
from stratum_git.git.flushing import flush
from stratum_git.git.memory import Memory
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field

ATTEMPTS = 10
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


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
    """Writes objects. With ``durable`` they are on the disk after :meth:`sync`. Safe for several threads.

    With ``late`` nobody sees them before that: they are flushed together, which is quicker. Either way one
    is on the disk before it has a name: git takes what has one for whole, and would not write it again.
    """

    repo: Repository
    durable: bool
    late: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _flushing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _debt: Debt = field(default_factory=Debt, repr=False)
    memory: Memory = field(default_factory=Memory, repr=False)

    def blob(self, data: bytes) -> Oid:
        """Writes a blob."""
        return self._write(b"blob", data)

    def tree(self, entries: Mapping[str, tuple[str, Oid]]) -> Oid:
        """Writes a tree of name -> (mode, object)."""
        rows = sorted(_row(name, mode, oid) for name, (mode, oid) in entries.items())
        return self._write(b"tree", b"".join(row for _, row in rows))

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
                self._debt.owed.append((new, known))

    def owe_objects(self, oids: Iterable[Oid]) -> None:
        """Notes that these very objects were made: sync flushes them, without looking for any others."""
        if self.durable:
            with self._lock:
                self._debt.oids.update(oids)

    def deferring(self) -> ObjectWriter:
        """Returns a late writer for the same repository; what it writes is remembered here as well."""
        return ObjectWriter(self.repo, self.durable, late=True, memory=self.memory)

    def reveal(self) -> None:
        """Gives late objects their names, once they are on the disk; the names are so after :meth:`sync`."""
        with self._settling() as debt:
            self._name(debt.unnamed)

    def sync(self) -> None:
        """Flushes what was written since the last call, and what is owed."""
        with self._settling() as debt:
            self._name(debt.unnamed)
            oids = debt.oids | _reached(self.repo, debt.owed)
            self._secure(oids, debt.folders)
            debt.clear()

    def _secure(self, oids: Collection[Oid], folders: Iterable[Path]) -> None:
        self.memory.read(loose_path(self.repo, oid) for oid in sorted(oids))
        if not are_there(self.repo, oids):
            raise HostError("a git of somebody's deleted objects that were just written")
        _flush(self.repo, oids, folders)

    def settle(self) -> None:
        """Takes in that refs have what was written."""
        self.memory.settle()

    def heal(self, *, glance: bool = False) -> int:
        """Writes again what somebody's git has deleted; returns how many. A *glance* is not at all of it."""
        gone, late = self.memory.glimpsed() if glance else self.memory.missing(), self._debt.unnamed
        if not (missing := {path: data for path, data in gone.items() if path not in late}):
            return 0
        stdin = "".join(f"{path.parent.name}{path.name}\n" for path in missing).encode()
        rows = self.repo.git.run("cat-file", "--batch-check", stdin=stdin).stdout.splitlines()
        lost = [path for path, row in zip(missing, rows, strict=True) if row.endswith(b" missing")]
        for path in lost:
            write_whole(path, missing[path], flushed=self.durable)
        return len(lost)

    def uncover(self) -> int:
        """Has git see what was written here and is missed; returns how many objects that may have been."""
        return self.heal()

    @contextlib.contextmanager
    def _settling(self) -> Iterator[Debt]:
        # One after another: what another thread has just begun to flush may be what this caller waits for.
        with self._flushing:
            with self._lock:
                debt, self._debt = self._debt, Debt()
            try:
                yield debt
            except OSError as error:
                raise HostError(f"objects could not be flushed to the disk: {error.strerror}") from error
            finally:
                # Whoever writes next must not take for certain what is not.
                with self._lock:
                    self._debt.take_over(debt)

    def _name(self, unnamed: dict[Path, Path]) -> None:
        if self.durable:
            flush(unnamed.values())
        for path, temporary in tuple(unnamed.items()):
            try:
                temporary.rename(path)
            except FileNotFoundError:
                # A git that tidies up takes our file for one that somebody left behind.
                self._again(path)
            del unnamed[path]

    def _again(self, path: Path) -> None:
        if (data := self.memory.missing().get(path)) is not None:
            write_whole(path, data, flushed=self.durable)

    def _write(self, kind: bytes, data: bytes, *, passing: bool = False) -> Oid:
        if self.repo.shared_permissions:
            done = Git(self.repo.root).run("hash-object", "-w", "-t", kind.decode(), "--stdin", stdin=data)
            oid = Oid(done.stdout.decode().strip())
            self.owe_objects([] if passing else [oid])
            return oid
        store = kind + b" " + str(len(data)).encode() + b"\0" + data
        oid = Oid(hashlib.new(self.repo.object_format, store, usedforsecurity=False).hexdigest())
        path = loose_path(self.repo, oid)
        try:
            if path in self._debt.unnamed:
                return oid
            packed = zlib.compress(store, 1)
            if _holds(path, store) and _is_freshened(path):
                # Whoever wrote it may not have flushed it.
                self.owe_objects([] if passing else [oid])
            else:
                self._place(path, packed, flushed=self.durable and not passing)
            self.memory.note(path, packed, passing=passing)
        except OSError as error:
            raise HostError(f"an object could not be written to {path.parent}: {error.strerror}") from error
        return oid

    def _place(self, path: Path, data: bytes, *, flushed: bool) -> None:
        # git gc removes stale files of this name, should this process die here.
        temporary = path.parent / f"tmp_obj_{os.urandom(8).hex()}"
        handle = _opened(temporary)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                _write_all(file, data)
                if flushed and self.late:
                    # The disk may begin while the next object is made: Linux takes this for a wish to write.
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                elif flushed:
                    os.fsync(handle)
            with self._lock:
                self._debt.folders |= {path.parent} if flushed else set()
                self._debt.unnamed |= {path: temporary} if self.late else {}
            if not self.late:
                try:
                    temporary.rename(path)
                except FileNotFoundError:
                    write_whole(path, data, flushed=flushed)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def _opened(temporary: Path) -> int:
    """Makes a file below ``objects``, where a git that deletes objects removes folders that are empty."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            return os.open(temporary, CREATE, 0o444)
        temporary.parent.mkdir(parents=True, exist_ok=True)
    return os.open(temporary, CREATE, 0o444)


def _is_freshened(path: Path) -> bool:
    """Makes an object look new, since git deletes what is old and on no ref; returns whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def write_whole(path: Path, data: bytes, *, flushed: bool) -> None:
    """Writes a file whole, in spite of a git that deletes whatever it does not know."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not below `objects`: there git deletes files of which it does not know whose they are.
            temporary = path.parent.parent.parent / f"stratum-{os.urandom(8).hex()}"
            with os.fdopen(os.open(temporary, CREATE, 0o444), "wb", buffering=0) as file:
                _write_all(file, data)
                os.fsync(file.fileno())
            temporary.replace(path)
            if flushed:
                flush([path.parent, path.parent.parent])
            return
    raise HostError(f"an object could not be written to {path.parent}: somebody deletes it again and again")


def flush_new(repo: Repository, new: Oid) -> None:
    """Puts on the disk whatever *new* reaches and no ref does yet, whoever wrote it."""
    asked = ("rev-list", "--objects", "--no-object-names", new, "--not", "--all")
    _flush(repo, map(Oid, repo.git.run(*asked).stdout.decode("ascii").split()), ())


def are_there(repo: Repository, oids: Iterable[Oid]) -> bool:
    """Returns whether all of these objects are in the repository; git is asked only about packed ones."""
    if not (packed := [oid for oid in oids if not os.path.lexists(loose_path(repo, oid))]):
        return True
    stdin = "".join(f"{oid}\n" for oid in packed).encode()
    return b" missing\n" not in repo.git.run("cat-file", "--batch-check", stdin=stdin).stdout


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


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _holds(path: Path, store: bytes) -> bool:
    """Returns whether the object is there, and whole: a power cut leaves empty ones, and worse."""
    try:
        return zlib.decompressobj().decompress(path.read_bytes(), len(store) + 1) == store
    except (FileNotFoundError, zlib.error):
        return False


def _reached(repo: Repository, owed: Sequence[tuple[Oid, tuple[Oid, ...]]]) -> set[Oid]:
    """Returns the objects that are owed."""
    if not owed:
        return set()
    # Several debts in one walk: what one of them knows, another may owe, so none is subtracted that is new.
    new = dict.fromkeys(oid for oid, _ in owed)
    known = dict.fromkeys(oid for _, oids in owed for oid in oids if oid not in new)
    stdin = "".join([*(f"{oid}\n" for oid in new), *(f"^{oid}\n" for oid in known)]).encode()
    asked = ("rev-list", "--objects", "--no-object-names", "--stdin")
    return set(map(Oid, repo.git.run(*asked, stdin=stdin).stdout.decode("ascii").split()))


def _flush(repo: Repository, oids: Iterable[Oid], folders: Iterable[Path]) -> None:
    # A packed object is flushed by git; one of an alternate store is not ours.
    files = [loose_path(repo, oid) for oid in sorted(oids)]
    if above := dict.fromkeys((*folders, *(path.parent for path in files))):
        # The names of the directories themselves are in the one above them.
        flush([*files, *above, repo.common_dir / "objects"])


def loose_path(repo: Repository, oid: Oid) -> Path:
    """Returns the file that has an object, if it is in one of its own."""
    return repo.common_dir.joinpath("objects", oid[:2], oid[2:])


def _cleaned(text: str) -> str:
    return "".join(c if c not in "<>\n\r\0" else " " for c in text).strip(" .,:;\"'\\")


@lru_cache(maxsize=4096)
def _row(name: str, mode: str, oid: Oid) -> tuple[bytes, bytes]:
    """Returns a line of a tree after the key by which git sorts: a folder as if its name ended in a slash."""
    if name in {"", ".", "..", ".git"} or "/" in name or "\0" in name:
        raise BugError(f"{name!r} cannot be a name in a tree")
    called, short = os.fsencode(name), mode.lstrip("0")
    key = called + b"/" if short == "40000" else called
    return key, b"%b %b\0%b" % (short.encode(), called, bytes.fromhex(oid))
