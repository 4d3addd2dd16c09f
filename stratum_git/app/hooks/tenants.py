"""Who is in which slot, by the slots' records: without a lock, and without git. It is for looking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.hooks.asked import Asked, Ground

NAME = r"(?:slot|clone)-[0-9a-f]{8}"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose work is in a slot."""

    path: Path
    flow: str
    step: str
    task: str | None
    attempt: int
    base: str

    @property
    def lease(self) -> str:
        """Returns the ref of its lease."""
        return f"refs/stratum/leases/{self.flow}/{self.step}/{self.task or '-step'}"

    def folder(self, ground: Ground) -> Path:
        """Returns the attempt's own folder."""
        return ground.state.joinpath(
            "attempts", self.flow, self.step, self.task or "-step", str(self.attempt)
        )


def tenants(ground: Ground) -> Iterator[Tenant]:
    """Yields whoever is in a slot of the repository."""
    for path in sorted(ground.slots.glob("*.json")) if ground.slots.is_dir() else ():
        found = tenant_of(path.with_suffix(""))
        if found is not None:
            yield found


def tenant_of(slot: Path) -> Tenant | None:
    """Returns whoever is in a slot; ``None`` when that is nobody."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        row = json.loads(slot.with_suffix(".json").read_bytes())
        who = row["occupant"]
        task = None if who["task"] is None else str(who["task"])
        return Tenant(slot, str(who["flow"]), str(who["step"]), task, int(who["attempt"]), str(row["base"]))
    return None


def named_in(ground: Ground, text: str) -> tuple[Tenant, ...]:
    """Returns those whose slots a text names, each once."""
    found = re.findall(rf"{re.escape(str(ground.slots))}/({NAME})", text)
    known = (tenant_of(ground.slots / name) for name in dict.fromkeys(found))
    return tuple(tenant for tenant in known if tenant is not None)


def standing_in(asked: Asked) -> Tenant | None:
    """Returns whose slot the client calls from."""
    ground = asked.ground
    if ground is None or not asked.cwd.is_relative_to(ground.slots):
        return None
    parts = asked.cwd.relative_to(ground.slots).parts
    return tenant_of(ground.slots / parts[0]) if parts else None
