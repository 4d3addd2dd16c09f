"""The client's own worktrees: made out of slots when it asks for one, and given back."""

from __future__ import annotations

import os
from pathlib import Path

from stratum_git.agents.identity import PROC, ProcessIdentity, identity_of
from stratum_git.app.client_worktrees import Lender, Removed, Returned, Stays, client_worktrees
from stratum_git.app.hooks.aided import repository_of
from stratum_git.app.hooks.asked import Answer, Asked
from stratum_git.app.including import include
from stratum_git.errors import UserError
from stratum_git.git.layout import Layout
from stratum_git.git.repository import Repository, open_repository, shares_permissions
from stratum_git.git.unaided_head import head_at
from stratum_git.git.whereabouts import Checkout, Undecided, checkout_at
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import StateFolders

SHOWN = 10
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "ash", "env"})


def worktree_create(asked: Asked) -> Answer:
    """Makes a worktree at the HEAD of whoever asks, and prints where it is."""
    name = asked.text("name")
    if not name:
        raise UserError("the client gives no name for the worktree")
    lender = lender_of(asked)
    lent = lender.lend(name, asked.session, client_process(asked))
    return Answer(out=lent.path, err=include(lender.repo, Path(lent.path)))


def worktree_remove(asked: Asked) -> Answer:
    """Takes a worktree back; what was done there is kept on a ref."""
    place = asked.text("worktree_path")
    lender = lender_from_above(asked)
    known = next(
        (one for one in client_worktrees(lender.folders) if one.path and _same(one.path, place)), None
    )
    if known is None:
        return Answer(err=f"{place} is no worktree of stratum-git's: it was left as it is")
    match lender.remove(known):
        case Returned(ignored):
            return Answer(err=f"nothing had been done in {place}{_gone(ignored)}")
        case Removed(ref, ignored):
            return Answer(err=f"what was in {place} is kept: git branch NAME {ref}{_gone(ignored)}")
        case Stays(why):
            return Answer(err=f"{place} was left as it is: {why}")


def lender_of(asked: Asked) -> Lender:
    """Returns who lends slots at the HEAD of whoever calls; raises NotARepository."""
    checkout = checkout_at(asked.cwd)
    head = None if checkout is None else _head(checkout, asked.cwd)
    if checkout is None or head is None:
        return Lender(open_repository(Path(asked.cwd)), _folders(asked))
    layout = Layout.of(checkout)
    shared = shares_permissions(layout.root)
    repo = Repository(layout.root, layout.git_dir, layout.common_dir, layout.object_format, shared)
    return Lender(repo, _folders(asked), head=head)


def _head(checkout: Checkout, place: str) -> Oid | None:
    """Returns the commit of HEAD where that is certain without the four gits that would tell it."""
    try:
        return Oid(head_at(checkout, place))
    except Undecided:
        return None


def lender_from_above(asked: Asked) -> Lender:
    """Returns who takes slots back, and stands in none of them himself; raises NotARepository."""
    if asked.ground is None:
        raise UserError(f"no repository was found around {asked.cwd}")
    common = Path(asked.ground.checkout.common_dir)
    return Lender(replace(repository_of(asked.ground), root=common, git_dir=common), _folders(asked))


def client_process(asked: Asked) -> ProcessIdentity | None:
    """Returns the client's process: the first above this one that is no shell."""
    if not (PROC / "self/stat").exists():
        said = asked.environment.get("CLAUDE_PID", "")
        return identity_of(int(said)) if said.isdecimal() else None
    pid = os.getppid()
    while pid > 1:
        try:
            name, _, rest = (
                (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")
            )
        except OSError:
            return None
        if name.partition("(")[2] not in SHELLS:
            return identity_of(pid)
        pid = int(rest.split()[1])
    return None


def _folders(asked: Asked) -> StateFolders:
    if asked.ground is None:
        raise UserError(f"no repository was found around {asked.cwd}")
    return StateFolders(Path(asked.ground.state))


def _gone(ignored: tuple[str, ...]) -> str:
    if not ignored:
        return ""
    more = f" and {len(ignored) - SHOWN} more" if len(ignored) > SHOWN else ""
    return f"; what git ignores is gone with it: {', '.join(ignored[:SHOWN])}{more}"


def _same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()
