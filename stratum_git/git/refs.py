"""Refs: read, and moved all together or not at all, each with the value it is expected to have."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from stratum_git.errors import BugError, HostError
from stratum_git.git import stale_locks
from stratum_git.git.blank_files import BlankFiles
from stratum_git.git.process import Conversation, Done, GitFailed
from stratum_git.git.ref_flushing import RefFolders, are_files, flush_prepared
from stratum_git.git.ref_moving import move
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass

WAITING = ("core.filesRefLockTimeout=2000", "core.packedRefsTimeout=2000")
"""Git waits this many ms for a lock of somebody else's, with pauses of its own; its default is 100."""
ATTEMPTS = 5
"""A directory of refs that another git removes, being empty, while this one locks a ref in it: again."""
LIFETIME = 256
"""Transactions after which a git is replaced: it remembers every pack that it ever saw. Also moves of a ref
without git, after which git does one: it may have been told by now that such refs have a reflog."""
FLOWS = "refs/stratum/flows/"
OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
HELD = re.compile(r"Unable to create '([^']+\.lock)': File exists")
PASSING = re.compile(
    r"Unable to create '[^']+\.lock': (No such file or directory|Not a directory)"
    # A pack was joined with others while git read the list of packs: one that starts anew finds it.
    r"|with nonexistent object"
)


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """A move of a ref: ``new`` is ``None`` to delete it, ``old`` is ``None`` when it must not exist yet.

    With both ``None`` nothing moves, and the others do only if the ref does not exist.
    """

    ref: RefName
    new: Oid | None
    old: Oid | None


class _Unsure:
    """Values were not where they were to be flushed; nothing moved."""


@dataclass(frozen=True, slots=True)
class Applied:
    """All refs moved."""


@dataclass(frozen=True, slots=True)
class LostRace:
    """No ref moved: one of them was not where it was expected to be."""

    ref: RefName
    detail: str


def transact(
    repo: Repository, updates: Sequence[RefUpdate], *, message: str, durable: bool = False
) -> Applied | LostRace:
    """Moves all of *updates* or none; raises HostError when a lock or the disk is in the way."""
    with RefSession(repo, message, durable=durable) as session:
        return session.transact(updates)


class RefSession:
    """Moves refs, many times with one git. Safe for several threads; to be closed."""

    def __init__(self, repo: Repository, message: str, *, durable: bool) -> None:
        self._repo = repo
        self._message = message
        self._durable = durable
        self._lock = threading.Lock()
        self._gits: dict[bool, Conversation] = {}
        self._folders = RefFolders(repo.common_dir)
        self._moves = 0
        self._known: dict[RefName, int] = {}
        self.blanks = BlankFiles()
        """Files for what is written beside: closed with the session."""
        self._stack = contextlib.ExitStack()
        self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transact(
        self,
        updates: Sequence[RefUpdate],
        first: Callable[[], None] = lambda: None,
        *,
        ready: Callable[[], None] = lambda: None,
        alone: Callable[[int], None] | None = None,
    ) -> Applied | LostRace:
        """Moves all of *updates* or none; raises HostError when a lock or the disk is in the way.

        *ready* is done before git looks for what the refs will speak of, *first* before any of them moves,
        when their values are flushed, or while git does that: it may be to flush what they will speak of.
        Where one ref can be moved without git, *alone* is done instead of both: it is given the open file
        with the value, and puts that on the disk, and in the repository what the value is, in a pack that is
        kept. What any of them raises, the caller gets, and nothing moves.
        """
        if not updates:
            return Applied()
        said, left = "", updates
        packed = self._folders.packed()
        self._clear(updates)
        for _ in range(ATTEMPTS):
            with self._lock:
                failed = self._try(left, first, ready, alone) if left else None
            if failed is None:
                if self._durable:
                    self._folders.flush(updates, packed)
                return Applied()
            said = failed.stderr.decode("utf-8", "replace")
            if failed.code < 0:
                said = said or f"git was killed by signal {-failed.code}"
                # Somebody killed git, maybe after it had moved some: only this transaction has these values.
                left = [update for update in left if tip_nowait(self._repo, update.ref) != update.new]
            elif not PASSING.search(said) and not self._is_freed(said, left):
                break
        lost = _lost(said, left)
        if lost is not None:
            return lost
        raise _failure(said, left)

    def close(self) -> None:
        """Ends the git, if there is one. The session can be used again."""
        with self._lock:
            self._end()
            self._folders.close()
            self.blanks.close()
            self._stack.close()
            self._handle = -1

    def _is_freed(self, said: str, updates: Sequence[RefUpdate]) -> bool:
        """Deletes stale locks if it was a lock that git failed at; returns whether that one is gone."""
        taken = HELD.search(said)
        if taken is None:
            return False
        # Git has waited for it already, so whoever holds it is slow, or gone; then there may be more of his.
        folder = self._repo.common_dir
        own = {folder / f"{update.ref}.lock" for update in updates} | set(_shared_locks(self._repo, updates))
        lock = Path(os.fsdecode(taken[1]))
        for other in own - {lock}:
            if other.exists():
                stale_locks.clear(folder, other)
        return stale_locks.clear(folder, lock)

    def _clear(self, updates: Sequence[RefUpdate]) -> None:
        """Deletes locks of our refs that the dead have left: git would wait for them."""
        folder = self._repo.common_dir
        for update in updates:
            lock = f"{folder}/{update.ref}.lock"
            if update.ref.startswith(FLOWS) and os.path.lexists(lock):
                stale_locks.clear(folder, Path(lock))

    def _try(
        self,
        updates: Sequence[RefUpdate],
        first: Callable[[], None],
        ready: Callable[[], None],
        alone: Callable[[int], None] | None,
    ) -> Done | None:
        """Returns ``None`` when all refs moved, else how git ended, as it does after a failure."""
        if self._handle < 0:
            self._handle = self._stack.enter_context(stale_locks.moving(self._repo.common_dir))
        with stale_locks.held(self._handle):
            if alone is not None and self._is_moved(updates, alone):
                return None
            ready()
            with stale_locks.claimed(self._repo.common_dir, _shared_locks(self._repo, updates)):
                return self._moved(updates, first)

    def _is_moved(self, updates: Sequence[RefUpdate], alone: Callable[[int], None]) -> bool:
        """Moves one of our refs without git, if it is one that git has moved here and gave no reflog."""
        one, *others = updates
        left = self._known.get(one.ref, 0)
        if others or not left or one.new is None or one.old is None:
            return False
        self._known[one.ref] = left - 1
        return move(self._repo.common_dir, one.ref, one.new, one.old, alone, blanks=self.blanks)

    def _moved(self, updates: Sequence[RefUpdate], first: Callable[[], None]) -> Done | None:
        self._moves += 1
        if self._moves % LIFETIME == 0:
            self._end()
        if self._durable and are_files(self._repo.common_dir, updates):
            done = self._commit(updates, first, flushes=True)
            if not isinstance(done, _Unsure):
                return done
        done = self._commit(updates, first, flushes=False)
        if isinstance(done, _Unsure):
            raise BugError("git itself was to flush what it prepared")
        return done

    def _commit(
        self, updates: Sequence[RefUpdate], first: Callable[[], None], *, flushes: bool
    ) -> Done | _Unsure | None:
        """Does one transaction; with *flushes* the values are flushed here, else git does that itself."""
        git = self._gits.pop(flushes, None) or self._start(flushes=flushes)
        moves = b"".join(_command(update) for update in updates)
        is_flushed = True
        try:
            if not self._durable:
                # Nothing is to be flushed in between: all of it is said at once.
                first()
                is_done = git.send(b"start\0" + moves + b"prepare\0commit\0") and git.heard(3)
                return self._ended(git, updates, flushes=flushes, is_done=is_done)
            is_sent = git.send(b"start\0" + moves + b"prepare\0")
            if not flushes:
                first()
            is_ready = is_sent and git.heard(2)
            if flushes and is_ready:
                is_flushed = flush_prepared(self._repo.common_dir, updates)
                first()
        except BaseException:
            git.close()
            raise
        if not is_flushed:
            git.close()
            return _Unsure()
        is_done = is_ready and git.send(b"commit\0") and git.heard(1)
        return self._ended(git, updates, flushes=flushes, is_done=is_done)

    def _ended(
        self, git: Conversation, updates: Sequence[RefUpdate], *, flushes: bool, is_done: bool
    ) -> Done | None:
        if not is_done:
            return git.close()
        self._gits[flushes] = git
        for update in updates if not self._repo.shared_permissions else ():
            if update.ref.startswith(FLOWS):
                self._known[update.ref] = LIFETIME
        return None

    def _end(self) -> None:
        for git in self._gits.values():
            git.close()
        self._gits = {}

    def _start(self, *, flushes: bool) -> Conversation:
        # The value must be on the disk before the rename: a ref that a power cut left empty blocks readers.
        config = (*WAITING, "core.fsync=reference") if self._durable and not flushes else WAITING
        words = ("update-ref", "-m", self._message, "--stdin", "-z")
        return self._repo.git.talk(*words, config=config, inherit=(self._handle,))


def read_refs(repo: Repository, prefix: str) -> dict[RefName, Oid]:
    """Returns the refs below *prefix*, or the one with exactly this name."""
    return survey_refs(repo, prefix)[0]


def survey_refs(repo: Repository, prefix: str) -> tuple[dict[RefName, Oid], str]:
    """Returns the refs below *prefix*, and what git says of those that it cannot read, for people."""
    done = repo.git.run("for-each-ref", "--format=%(objectname) %(refname)", prefix)
    # Not splitlines: a ref's name may have in it what Unicode takes for the end of a line.
    rows = (line.partition(" ") for line in os.fsdecode(done.stdout).split("\n") if line)
    return {RefName(name): Oid(oid) for oid, _, name in rows}, done.stderr.decode("utf-8", "replace").strip()


def read_ref(repo: Repository, ref: RefName) -> Oid | None:
    """Returns where a ref stands. The name is taken as it is: rev-parse would also try it as a branch."""
    out = repo.git.run("for-each-ref", "--format=%(objectname) %(refname)", ref).stdout
    rows = (line.partition(" ") for line in os.fsdecode(out).split("\n"))
    return next((Oid(oid) for oid, _, name in rows if name == ref), None)


def tip_nowait(repo: Repository, ref: RefName) -> Oid | None:
    """Returns where a ref stands, without starting git where refs are ordinary files."""
    if not ref:
        # Of a slot that is on no branch.
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError), open(f"{repo.common_dir}/{ref}", "rb") as file:  # noqa: PTH123 - a text
        text = file.read().decode("ascii").strip()
        if OID.fullmatch(text):
            return Oid(text)
    if (repo.common_dir / "reftable").exists() or (repo.common_dir / ref).is_file():
        return read_ref(repo, ref)
    # Only now: a ref that is being packed is in the packed ones before its own file goes.
    return _packed(repo, ref)


def _packed(repo: Repository, ref: RefName) -> Oid | None:
    try:
        rows = (repo.common_dir / "packed-refs").read_bytes()
    except FileNotFoundError:
        return None
    end = rows.find(b" " + os.fsencode(ref) + b"\n")
    if end < 0:
        return None
    return Oid(rows[rows.rfind(b"\n", 0, end) + 1 : end].decode("ascii"))


def _command(update: RefUpdate) -> bytes:
    ref = os.fsencode(update.ref)
    if update.new is None and update.old is None:
        return b"verify " + ref + b"\0\0"
    if update.new is None:
        return b"delete " + ref + b"\0" + (update.old or "").encode() + b"\0"
    if update.old is None:
        return b"create " + ref + b"\0" + update.new.encode() + b"\0"
    return b"update " + ref + b"\0" + update.new.encode() + b"\0" + update.old.encode() + b"\0"


def _lost(said: str, updates: Sequence[RefUpdate]) -> LostRace | None:
    """Returns which update lost its race, if that is what git says."""
    if "reference broken" in said:
        # Whoever is told of a lost race tries again, and this would be lost for ever.
        return None
    words = (
        "is at [0-9a-f]+ but expected|reference already exists|"
        "reference is missing but expected|unable to resolve reference"
    )
    if not re.search(words, said):
        return None
    named = re.search(r"cannot lock ref '([^']+)'", said)
    ref = RefName(named[1]) if named else updates[0].ref
    return LostRace(ref, said.strip())


def _failure(said: str, updates: Sequence[RefUpdate]) -> HostError:
    held = HELD.search(said)
    if held:
        hint = f"when no git is running there, delete {held[1]}"
        return HostError(f"another git holds {held[1]}", hint=hint)
    broken = re.search(r"unable to resolve reference '([^']+)': reference broken", said)
    if broken:
        return HostError(f"the ref {broken[1]} is damaged", hint=f"see `git fsck`, then .git/{broken[1]}")
    blocked = re.search(r"'([^']+)' exists; cannot create '([^']+)'", said)
    if blocked:
        hint = f"rename or delete {blocked[1]}: git cannot have both"
        return HostError(f"the ref {blocked[1]} is in the way of {blocked[2]}", hint=hint)
    return GitFailed(("update-ref", updates[0].ref), 128, said.encode())


def _shared_locks(repo: Repository, updates: Sequence[RefUpdate]) -> list[Path]:
    """Returns the locks that git is going to take for *updates* and that others take too."""
    locks = [repo.common_dir / f"{u.ref}.lock" for u in updates if not str(u.ref).startswith(stale_locks.OWN)]
    if any(update.ref.startswith("refs/heads/") for update in updates):
        # That a branch moves is noted in the reflog of HEAD, when it is on it.
        locks.append(repo.git_dir / "HEAD.lock")
    if any(update.new is None and update.old is not None for update in updates):
        locks.append(repo.common_dir / "packed-refs.lock")
    return locks
