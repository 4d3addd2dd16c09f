"""Makes commits of what lies in slots that clients have, with what a client's hooks load and no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stratum_git.dispatch.clock import local_offset, now
from stratum_git.dispatch.names import rest_ref
from stratum_git.errors import HostError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import LostRace, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository, identity
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.unaided import unaided_at
from stratum_git.git.whereabouts import Undecided
from stratum_git.model.ids import Oid, RefName

BY = "stratum-git"
COMMIT = 1024 * 1024
"""Bytes of a commit that is read without git."""


def snapshot(repo: Repository, path: Path, base: Oid, ref: RefName, name: str) -> RefName | None:
    """Puts what lies in a slot on *ref*, and touches nothing there; ``None`` when nothing was done.

    Whoever is at work there goes on meanwhile.
    """
    writer = ObjectWriter(repo, durable=True)
    found = taken(repo, path, base, name, writer, aside=True)
    if found.result == base:
        return None
    before = tip_nowait(repo, ref)
    if before is not None and _have_one_tree(repo, before, found.result):
        return ref
    writer.sync()
    transact(repo, [RefUpdate(ref, found.result, before)], message=BY, durable=True)
    return ref


def taken(
    repo: Repository, path: Path, base: Oid, name: str, writer: ObjectWriter, *, aside: bool
) -> Captured:
    """Returns what lies in a slot; *aside*, its index stays as it is. Nothing of it is on a ref yet."""
    who = identity(repo)
    author = Signature(who.name, who.email, now(), local_offset())
    message = f"{name}\n\nWhat was left uncommitted.\n"
    return capture(
        path, base=base, writer=writer, message=message, author=author, committer=author, aside=aside
    )


def keep(repo: Repository, ref: RefName, found: Captured) -> None:
    """Puts what was captured on refs, all of it or nothing."""
    moves = [RefUpdate(ref, found.result, tip_nowait(repo, ref))]
    if found.rest is not None:
        moves.append(RefUpdate(rest_ref(ref), found.rest, tip_nowait(repo, rest_ref(ref))))
    answer = transact(repo, [move for move in moves if move.old != move.new], message=BY, durable=True)
    if isinstance(answer, LostRace):
        raise HostError(
            f"{answer.ref} was moved by somebody else meanwhile", hint="nothing was lost; try again"
        )


def people_in(place: Path) -> bool:
    """Returns whether a process stands in *place*, but for this one and those that started it."""
    own = set(_ancestors())
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(entry.name) not in own and (entry / "cwd").readlink().is_relative_to(place):
                return True
    return False


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])


def _have_one_tree(repo: Repository, one: Oid, other: Oid) -> bool:
    """Returns whether two commits hold the same."""
    try:
        # Two gits would tell the same.
        there = unaided_at(str(repo.root))
        return there.tree(one, COMMIT) == there.tree(other, COMMIT)
    except Undecided:
        return _tree(repo, one) == _tree(repo, other)


def _tree(repo: Repository, commit: Oid) -> str:
    return repo.git.line("rev-parse", f"{commit}^{{tree}}")
