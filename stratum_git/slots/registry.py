"""The repository's list of worktrees, as far as slots are on it.

Entries are made and dropped under one lock: where git has to make them, two that do it at once may trip over
each other's half-made files. The lock is held for milliseconds; nothing is checked out under it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratum_git.errors import HostError, UserError
from stratum_git.git.deregistration import drop_named, shut, sweep, unregister
from stratum_git.git.files import read_pointer, resolved
from stratum_git.git.process import Git
from stratum_git.git.refs import read_ref, tip_nowait
from stratum_git.git.registration import (
    add_apart,
    add_worktree,
    branch_at,
    needs_git,
    place_of,
)
from stratum_git.git.repository import Repository
from stratum_git.git.torn_files import restore_torn
from stratum_git.git.worktree import forget_unfinished, git_dir_of
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass, field
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.queueing import lock_within

HEAD = re.compile(r"ref: refs/\S+|[0-9a-f]{40}|[0-9a-f]{64}")
SLOT = re.compile(r"slot-[0-9a-f]{8}")
REASON = "stratum-git slot"
UP = "../.."
"""Where an entry has the repository that it is of."""
NO_SUCH_COMMIT = 129
MUCH = 8192
"""Bytes of a HEAD: the name of a branch has four thousand at most."""


class BranchInUse(UserError):  # noqa: N818 - reads as what is the matter
    """A branch that a slot is to be on is checked out by the user."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The worktrees of a repository. ``timeout``: seconds to wait for another process's turn."""

    repo: Repository
    slots: Path
    lock_file: Path
    timeout: float
    # Threads of this process queue here: waiting at the file means asking again and again.
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _sweeper: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keeps others from changing the list meanwhile; raises HostError when they take too long."""
        late = f"{self.lock_file} was not free within {self.timeout:g} s"
        hint = "another stratum-git has held it all that time; `fuser` tells which"
        if not self._turn.acquire(timeout=self.timeout):
            raise HostError(late, hint=hint)
        try:
            lock = lock_within(self.lock_file, self.timeout)
            if lock is None:
                raise HostError(late, hint=hint)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._turn.release()

    def add(self, slot: Path, base: Oid) -> None:
        """Makes an empty worktree at *slot*, locked against ``git worktree prune``."""
        with self.turn():
            add_worktree(self.repo, slot, base=base, reason=REASON)

    def add_apart(self, slot: Path, files: Path, base: Oid, index: Path, ahead: Path | None = None) -> None:
        """Registers a worktree whose files lie in *files* until they are mounted at *slot*.

        Its index is a copy of *index*, the one that was made *ahead* if there is.
        """
        if not needs_git(self.repo):
            # Whole in one rename: nobody can be in the way, and nobody is waited for.
            add_apart(self.repo, slot, files, base=base, reason=REASON, index=index, ahead=ahead)
            return
        if ahead is not None:
            ahead.unlink(missing_ok=True)
        with self.turn():
            add_apart(self.repo, slot, files, base=base, reason=REASON, index=index)

    def give_up(self, slot: Path) -> bool:
        """Makes the repository forget the worktree at *slot* in one rename; ``False`` where it takes more."""
        return drop_named(self.repo, slot)

    def shut(self, slot: Path) -> None:
        """Keeps every git out of a worktree that was given up."""
        shut(self.repo, slot)

    def drop(self, slot: Path) -> None:
        """Makes the repository forget the worktree at *slot*, whose directory is gone; waits for nobody."""
        unregister(self.repo, slot)
        # Nobody waits until it is deleted, with an index of megabytes.
        if self._sweeper.acquire(blocking=False):
            threading.Thread(target=self._sweep_aside, daemon=True, name="sweep-entries").start()

    def sweep(self, *, to_the_end: bool = False) -> None:
        """Deletes entries dropped a while ago, *to_the_end* all of them, and what the dead were making."""
        if not to_the_end:
            sweep(self.repo)
            return
        # Whoever sweeps meanwhile keeps this one from what the dead were making.
        with self._sweeper:
            sweep(self.repo, to_the_end=True)

    def _sweep_aside(self) -> None:
        try:
            with contextlib.suppress(OSError):
                self.sweep()
        finally:
            self._sweeper.release()

    def is_sound(self, slot: Path) -> bool:
        """Returns whether *slot* and its entry belong together.

        Git in a slot that does not know its repository would take the next one above it for its own.
        """
        marker = slot / ".git"
        if slot.is_symlink() or marker.is_symlink() or not marker.is_file():
            return False
        entry = git_dir_of(slot)
        return (
            entry.parent == resolved(self.repo.common_dir / "worktrees")
            and _is_whole(entry)
            and place_of(entry / "gitdir") == slot
        )

    def vacate(self, branch: RefName) -> None:
        """Takes *branch* from slots that are on it; raises BranchInUse when the user's checkout is on it.

        An attempt that is over, or was abandoned, may still be in such a slot. It stays at the same commit,
        detached: were the branch moved under it, what it left would look like the reverse of that move.
        """
        common = self.repo.common_dir
        others = common / "worktrees"
        names = os.listdir(others) if others.is_dir() else []  # noqa: PTH208 - there may be thousands
        if tip_nowait(self.repo, branch) is None:
            # A slot cannot be at a commit of a branch that is not there, so there is nothing to take.
            names = [name for name in names if not SLOT.fullmatch(name)]
        at = os.fsencode(branch)
        for entry in (common, *(others / name for name in names if _may_be_at(f"{others}/{name}/HEAD", at))):
            # Its HEAD first: there are many slots, and where they are takes longer to find out.
            place = self._place_of(entry) if branch_at(entry) == branch else None
            if place is None:
                continue
            if place.parent != self.slots:
                hint = f"check out another branch in {place}, or delete that worktree"
                raise BranchInUse(f"the branch {branch} is checked out in {place}", hint=hint)
            self._detach(entry)

    def lost(self) -> dict[Path, Path]:
        """Returns slots whose directory somebody deleted, and their entries."""
        return {
            place: entry
            for place, entry in self._entries().items()
            if place.parent == self.slots and not place.exists()
        }

    def holds_nothing(self, entry: Path) -> bool:
        """Returns whether some ref has the commit that the worktree of *entry* was at."""
        if branch_at(entry) is not None:
            return True
        head = _head(entry)
        asked = ("for-each-ref", "--count=1", f"--contains={head}")
        found = self.repo.git.run(*asked, ok=(0, NO_SUCH_COMMIT))
        return found.code == NO_SUCH_COMMIT or bool(found.stdout)

    def mend(self, slot: Path, spare: Path, base: Oid, branch: RefName) -> bool:
        """Makes a damaged worktree one that git can read, and returns whether there is anything in it.

        A directory whose entry was deleted gets a new one, made at the unused path *spare* first; an entry
        whose directory was deleted gets the directory of its last commit.
        """
        if self.is_sound(slot):
            return True
        if slot.is_symlink():
            # What it leads to is somebody else's, and the tenant's work is not here any more.
            slot.unlink()
        elif slot.exists() and not slot.is_dir():
            # Before the folder above is made anew: whatever this is, it is the only thing left of the work.
            slot.replace(spare)
        # Whoever deletes a slot that is mounted leaves an empty folder: nobody can delete that.
        is_gone = slot.is_mount() and not any(slot.iterdir())
        if slot.is_dir() and not is_gone:
            self._adopt(slot, spare, read_ref(self.repo, branch) or base)
            return True
        entry = self._entries().get(slot)
        if entry is None:
            return False
        slot.mkdir(exist_ok=is_gone)
        if spare.exists():
            spare.replace(slot / "replaced")
        (slot / ".git").write_text(f"gitdir: {entry}\n", encoding="utf-8", errors="surrogateescape")
        forget_unfinished(slot)
        Git(slot).run("reset", "-q", "--hard")
        return True

    def _adopt(self, slot: Path, spare: Path, commit: Oid) -> None:
        marker = slot / ".git"
        if marker.is_symlink():
            marker.unlink()
        elif marker.is_dir():
            # The agent made a repository of its own in its place. It is found as one that lies in the slot.
            inner = slot / "replaced.git"
            inner.mkdir()
            marker.rename(inner / ".git")
        with self.turn():
            add_worktree(self.repo, spare, base=commit, reason=REASON)
            # Written and not renamed: the slot may be mounted there, and be on another file system.
            marker.unlink(missing_ok=True)
            marker.write_bytes((spare / ".git").read_bytes())
            (spare / ".git").unlink()
            # Not `git worktree repair`: it would also write into worktrees of the user's.
            text = f"{marker}\n"
            (git_dir_of(slot) / "gitdir").write_text(text, encoding="utf-8", errors="surrogateescape")
        spare.rmdir()
        Git(slot).run("read-tree", commit)
        # It may have been a power cut, which leaves files empty; nothing is lost where it was not.
        restore_torn(self.repo, slot)

    def _detach(self, entry: Path) -> None:
        git, env = Git(self.repo.root), {"GIT_DIR": str(entry)}
        at = git.run("rev-parse", "--verify", "-q", "HEAD^{commit}", env=env, ok=(0, 1))
        if at.code == 0:
            oid = at.stdout.decode().strip()
            git.run("update-ref", "--no-deref", "-m", "stratum-git: detached", "HEAD", oid, oid, env=env)

    def _place_of(self, entry: Path) -> Path | None:
        common = self.repo.common_dir
        if entry == common:
            return common.parent if common.name == ".git" else common
        return place_of(entry / "gitdir")

    def _entries(self) -> dict[Path, Path]:
        folder = self.repo.common_dir / "worktrees"
        places = ((place_of(entry / "gitdir"), entry) for entry in sorted(folder.glob("*")))
        return {place: entry for place, entry in places if place is not None}


def registry_of(repo: Repository, folders: StateFolders, timeout: float = 30.0) -> Registry:
    """Returns the list of worktrees of *repo*, as far as slots in *folders* are on it."""
    return Registry(repo, folders.slots, folders.locks / "worktrees.lock", timeout)


def _is_whole(entry: Path) -> bool:
    """Returns whether git can use an entry, and uses it for this repository and no other one."""
    index = entry / "index"
    if index.is_symlink() or (index.exists() and not index.is_file()):
        return False
    with contextlib.suppress(OSError):
        return read_pointer(entry / "commondir") == UP and HEAD.fullmatch(_head(entry)) is not None
    return False


def _may_be_at(head: str, branch: bytes) -> bool:
    """Returns whether a HEAD has to be looked at closely: it has the name of the branch in it, or is odd."""
    try:
        handle = os.open(head, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return branch in os.read(handle, MUCH)
    except OSError:
        return True
    finally:
        os.close(handle)


def _head(entry: Path) -> str:
    with contextlib.suppress(OSError):
        return read_pointer(entry / "HEAD")
    return ""
