"""What is noted of the worktrees that clients have: light, for whoever only looks."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stratum_git.agents.identity import ProcessIdentity, is_alive, own_identity
from stratum_git.app.hooks.tenants import CLIENTS, KEPT
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import asdict, dataclass
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupant

FLOW = CLIENTS
PREFIX = KEPT


@dataclass(frozen=True, slots=True)
class ClientWorktree:
    """A worktree of a client's. ``name`` is the client's word, ``key`` ours, ``path`` empty until it is made.

    ``owner`` is the client's process, ``None`` where that could not be found out.
    """

    key: str
    name: str
    session: str
    base: Oid
    path: str
    owner: ProcessIdentity | None
    made: float
    rested: float = 0.0
    """When its subagent came to an end with nothing done; a client may still go on with that one."""
    numbers: str = ""
    """The namespace of process numbers in which ``owner`` has his."""

    @property
    def branch(self) -> RefName:
        """Returns its branch."""
        return RefName(f"refs/heads/{self.key}")

    @property
    def kept(self) -> RefName:
        """Returns the ref that its work gets."""
        return RefName(PREFIX + self.key)

    @property
    def occupant(self) -> Occupant:
        """Returns whose slot it is, in the slot's record."""
        return Occupant(FLOW, self.session, self.key, 1)

    def is_over(self) -> bool:
        """Returns whether the client that asked for it is certainly gone; elsewhere that cannot be seen."""
        here = own_identity()
        if self.owner is None or self.owner.host != here.host:
            return False
        if self.owner.boot_id != here.boot_id:
            return True
        return self.numbers in {"", numbers_here()} and not is_alive(self.owner)


def client_worktrees(folders: StateFolders) -> tuple[ClientWorktree, ...]:
    """Returns the worktrees that clients have, oldest first."""
    place = folders.root / "worktrees"
    found = (read(path) for path in place.glob("*.json")) if place.is_dir() else ()
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.made, one.key)))


def rest(folders: StateFolders, lent: ClientWorktree, at: float) -> ClientWorktree:
    """Notes that nobody is at work in a worktree since *at*; 0 when somebody is again."""
    rested = replace(lent, rested=at)
    write(folders, rested)
    return rested


def numbers_here() -> str:
    """Returns the namespace of this process's number; empty where that cannot be told."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def file_of(folders: StateFolders, key: str) -> Path:
    """Returns where a worktree is noted."""
    return folders.worktrees / f"{key}.json"


def claimed(folders: StateFolders, made: ClientWorktree) -> bool:
    """Notes a worktree down that is to be made; returns whether nobody has that name."""
    try:
        handle = os.open(file_of(folders, made.key), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(made), file)
    return True


def write(folders: StateFolders, lent: ClientWorktree) -> None:
    """Notes a worktree, whole or not at all."""
    path = file_of(folders, lent.key)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(lent), file)
    fresh.replace(path)


def read(path: Path) -> ClientWorktree | None:
    """Returns what is noted in a file; ``None`` when it is gone or cannot be read."""
    try:
        row = json.loads(path.read_bytes())
        owner = row["owner"]
        who = (
            None
            if owner is None
            else ProcessIdentity(
                int(owner["pid"]), int(owner["start_time"]), str(owner["boot_id"]), str(owner["host"])
            )
        )
        texts = {key: str(row[key]) for key in ("key", "name", "session", "path")}
        return ClientWorktree(
            **texts,
            base=Oid(str(row["base"])),
            owner=who,
            made=float(row["made"]),
            rested=float(row.get("rested", 0.0)),
            numbers=str(row.get("numbers", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
