"""The worktrees that a client asked for itself: slots of the pool, lent to a session under a name.

No process of ours holds them. A record beside the slots says whose they are, and which process of the
client's asked: while that one lives nobody touches them. One in which nothing was done goes back when its
session is over; what was done in one stays until somebody removes it, and is on a ref before the slot goes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.agents.identity import ProcessIdentity
from stratum_git.app.capturing import BY, keep, people_in, snapshot, taken
from stratum_git.app.client_records import (
    FLOW,
    ClientWorktree,
    claimed,
    client_worktrees,
    file_of,
    numbers_here,
    read,
    write,
)
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.names import former_ref
from stratum_git.errors import HostError, StratumError
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import trust
from stratum_git.git.refs import LostRace, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository, head_of
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass
from stratum_git.slots.building import ladder_of
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.moving import moved
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot

__all__ = [
    "FLOW", "ClientWorktree", "End", "Lender", "Removed", "Returned", "Stays", "client_worktrees", "tried",
]  # fmt: skip
NAMES = 1000
LONGEST = 100


@dataclass(frozen=True, slots=True)
class Returned:
    """Nothing had been done in it: the slot is back, and nothing is left of it."""

    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """The slot is back; what was done there is at ``ref``, but for what git ignored."""

    ref: RefName
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stays:
    """It is as it was, and why."""

    why: str


End: TypeAlias = Returned | Removed | Stays
How: TypeAlias = Literal["look", "retire", "discard"]


@dataclass(frozen=True, slots=True)
class Lender:
    """Lends slots of a repository to clients, and takes them back."""

    repo: Repository
    folders: StateFolders
    keep: int = 8
    rung: str = "auto"
    head: Oid | None = None
    """What HEAD is where somebody has looked already."""

    @property
    def pool(self) -> SlotPool:
        """Returns the slots."""
        # Their users may remove them with git, which cannot remove a mount.
        rung = "snapshot" if self.rung in {"auto", "overlay"} else self.rung
        ladder = ladder_of(self.repo, self.folders, forced=rung)
        return SlotPool(self.repo, self.folders, keep=self.keep, ladder=ladder)

    def lend(self, name: str, session: str, owner: ProcessIdentity | None) -> ClientWorktree:
        """Returns a worktree at HEAD, on a branch of its own; one of this name that is nobody else's again.

        Raises UserError or HostError.
        """
        for known in client_worktrees(self.folders):
            again = self._lent_again(known, session, owner) if known.name == name else None
            if again is not None:
                return again
        trust(self.repo.common_dir, self.repo.root)
        base = self.head or head_of(self.repo).oid
        made = self._named(ClientWorktree("", name, session, base, "", owner, now(), 0.0, numbers_here()))
        try:
            slot = self.pool.acquire(
                base=base, branch=made.branch, occupant=made.occupant, isolation="worktree", visible=True
            )
        except BaseException:
            self._forget(made)
            raise
        lent = replace(made, path=str(slot.path))
        write(self.folders, lent)
        self.pool.leave(slot)
        return lent

    def take_back(self, lent: ClientWorktree) -> End:
        """Takes a worktree back if nothing was done in it and nobody is there."""
        return self._ended(lent, "look")

    def retire(self, lent: ClientWorktree) -> End:
        """Takes a worktree back; what was committed there is on its branch, the rest on a ref."""
        return self._ended(lent, "retire")

    def remove(self, lent: ClientWorktree) -> End:
        """Takes a worktree back that nobody wants any more; all that was done there is on a ref."""
        return self._ended(lent, "discard")

    def snapshot(self, lent: ClientWorktree) -> RefName | None:
        """Puts what lies in a worktree on its ref, and leaves it as it is; ``None`` when that is nothing."""
        return snapshot(self.repo, Path(lent.path), lent.base, lent.kept, lent.key)

    def _ended(self, lent: ClientWorktree, how: How) -> End:
        pool = self.pool
        slot = pool.enter(lent.occupant)
        if slot is None:
            if pool.find(lent.occupant) is not None:
                return Stays("another process is in it")
            # Somebody deleted it, or it was never made.
            self._forget(lent)
            return Returned()
        try:
            end = self._seen(lent, slot, how)
        except BaseException:
            pool.leave(slot)
            raise
        if isinstance(end, Stays):
            pool.leave(slot)
            return end
        self._offered(pool, slot)
        self._forget(lent, with_work=how == "discard")
        return end

    def _lent_again(
        self, known: ClientWorktree, session: str, owner: ProcessIdentity | None
    ) -> ClientWorktree | None:
        """Gives a worktree to whoever comes with its name, if it is his own or nobody's; one at a time."""
        if not (known.session == session or known.is_over()) or not _is_there(known):
            return None
        pool = self.pool
        slot = pool.enter(known.occupant)
        if slot is None:
            return None
        try:
            now_is = read(file_of(self.folders, known.key))
            if now_is is None or not (now_is.session == session or now_is.is_over()):
                return None
            again = replace(now_is, owner=owner, rested=0.0, numbers=numbers_here())
            write(self.folders, again)
            return again
        finally:
            pool.leave(slot)

    def _offered(self, pool: SlotPool, slot: Slot) -> None:
        """Gives a slot back under another name: whoever was told of this one may come again."""
        if people_in(slot.path):
            pool.retire(slot)
            return
        try:
            pool.release(moved(slot))
        except HostError:
            pool.retire(slot)

    def _seen(self, lent: ClientWorktree, slot: Slot, how: How) -> End:
        if how != "discard" and people_in(slot.path):
            return Stays("somebody is in it")
        if how == "look" and self._is_changed(lent, slot.path):
            return Stays("there is work in it")
        trust(self.repo.common_dir, self.repo.root)
        writer = ObjectWriter(self.repo, durable=True)
        found = taken(self.repo, slot.path, lent.base, lent.key, writer, aside=False)
        left = (*found.embedded, *found.unsaved, *found.links)
        if left:
            return Stays(f"no commit can hold {', '.join(left[:3])}")
        if found.result == lent.base and found.rest is None and self._tip(lent) in {None, lent.base}:
            return Returned(found.ignored)
        if how == "look":
            return Stays("there is work in it")
        writer.sync()
        keep(self.repo, lent.kept, found)
        return Removed(lent.kept, found.ignored)

    def _is_changed(self, lent: ClientWorktree, path: Path) -> bool:
        """Returns whether something was plainly done: then nothing is staged there only to find that out."""
        head = Repository(path, path, self.repo.common_dir, self.repo.object_format)
        asked = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal")
        said = head.git.run(*asked, env={"GIT_OPTIONAL_LOCKS": "0"}).stdout
        at = head.git.run("rev-parse", "--verify", "-q", "HEAD", ok=(0, 1, 128)).stdout.decode().strip()
        return bool(said) or at != lent.base or self._tip(lent) != lent.base

    def _tip(self, lent: ClientWorktree) -> Oid | None:
        return tip_nowait(self.repo, lent.branch)

    def _named(self, wanted: ClientWorktree) -> ClientWorktree:
        """Returns *wanted* with a name that nobody has, noted down, and its branch made."""
        word = re.sub(r"[^A-Za-z0-9._+-]+", "+", wanted.name).strip(".+-")[:LONGEST].replace("..", "+")
        stem = f"worktree-{word.removesuffix('.lock') or 'client'}"
        for number in range(1, NAMES):
            made = replace(wanted, key=stem if number == 1 else f"{stem}-{number}")
            if self._tip(made) is None and claimed(self.folders, made):
                if self._branched(made):
                    return made
                file_of(self.folders, made.key).unlink(missing_ok=True)
        raise HostError(f"all names like {stem} are taken", hint="delete branches that nobody needs")

    def _branched(self, made: ClientWorktree) -> bool:
        """Makes the branch; what a former worktree of this name left gets a ref of its own."""
        moves = [RefUpdate(made.branch, made.base, None)]
        former = tip_nowait(self.repo, made.kept)
        if former is not None:
            moves.append(RefUpdate(made.kept, None, former))
            if tip_nowait(self.repo, former_ref(made.kept, former)) is None:
                moves.append(RefUpdate(former_ref(made.kept, former), former, None))
        return not isinstance(transact(self.repo, moves, message=BY), LostRace)

    def _forget(self, lent: ClientWorktree, *, with_work: bool = False) -> None:
        """Drops the record, and the branch where it holds nothing, or *with_work* that is kept on a ref."""
        tip = self._tip(lent)
        kept = tip_nowait(self.repo, lent.kept) if with_work else None
        if tip is not None and (tip == lent.base or self._reaches(kept, tip)):
            transact(self.repo, [RefUpdate(lent.branch, None, tip)], message=BY)
        file_of(self.folders, lent.key).unlink(missing_ok=True)

    def _reaches(self, kept: Oid | None, tip: Oid) -> bool:
        if kept is None:
            return False
        asked = ("merge-base", "--is-ancestor", tip, kept)
        return self.repo.git.run(*asked, ok=(0, 1)).code == 0


def _is_there(lent: ClientWorktree) -> bool:
    return bool(lent.path) and (Path(lent.path) / ".git").exists()


def tried(lender: Lender, lent: ClientWorktree) -> End:
    """Takes a worktree back if nothing was done in it; what goes wrong is a reason to leave it."""
    try:
        return lender.take_back(lent)
    except (StratumError, OSError) as error:
        return Stays(str(error))
