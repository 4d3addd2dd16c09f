"""Who is in which slot, by the slots' records: without a lock, and without git. It is for looking."""

from __future__ import annotations

import json
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.app.hooks.asked import Asked, Ground

NAME = r"(?:slot|clone)-[0-9a-f]{8}"
CLIENTS = "-worktrees"
"""Whose slots a client's own worktrees are: no flow has such an id, so whoever recovers those leaves them."""
KEPT = "refs/stratum/worktrees/"
"""What was in one of these is on a ref below it."""


class Tenant:
    """Whose work is in a slot."""

    __slots__ = ("attempt", "base", "flow", "path", "step", "task")

    def __init__(self, path: str, flow: str, step: str, task: str | None, attempt: int, base: str) -> None:
        self.path = path
        self.flow = flow
        self.step = step
        self.task = task
        self.attempt = attempt
        self.base = base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tenant) and all(
            getattr(self, name) == getattr(other, name) for name in Tenant.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.path, self.flow, self.step, self.task, self.attempt))

    @property
    def lease(self) -> str:
        """Returns the ref of its lease."""
        return f"refs/stratum/leases/{self.flow}/{self.step}/{self.task or '-step'}"

    def folder(self, ground: Ground) -> str:
        """Returns the attempt's own folder."""
        return os.path.join(
            ground.state, "attempts", self.flow, self.step, self.task or "-step", str(self.attempt)
        )


def tenants(ground: Ground) -> Iterator[Tenant]:
    """Yields whoever is in a slot of the repository."""
    try:
        names = sorted(name for name in os.listdir(ground.slots) if name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        found = tenant_of(os.path.join(ground.slots, name.removesuffix(".json")))
        if found is not None:
            yield found


def tenant_of(slot: str) -> Tenant | None:
    """Returns whoever is in a slot; ``None`` when that is nobody."""
    try:
        with open(f"{slot}.json", "rb") as file:
            row = json.loads(file.read())
        who = row["occupant"]
        task = None if who["task"] is None else str(who["task"])
        return Tenant(slot, str(who["flow"]), str(who["step"]), task, int(who["attempt"]), str(row["base"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def named_in(ground: Ground, text: str) -> tuple[Tenant, ...]:
    """Returns those whose slots a text names, each once."""
    if ground.slots not in text:
        return ()
    found = re.findall(rf"{re.escape(ground.slots)}/({NAME})", text)
    known = (tenant_of(os.path.join(ground.slots, name)) for name in dict.fromkeys(found))
    return tuple(tenant for tenant in known if tenant is not None)


def standing_in(asked: Asked) -> Tenant | None:
    """Returns whose slot the client calls from."""
    return None if asked.ground is None else slot_at(asked.ground, asked.cwd)


def slot_at(ground: Ground, place: str) -> Tenant | None:
    """Returns whose slot *place* is in."""
    above = f"{ground.slots}/"
    name = place.removeprefix(above).partition("/")[0]
    return tenant_of(above + name) if place.startswith(above) and name else None
