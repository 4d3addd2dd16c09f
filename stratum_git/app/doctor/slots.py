"""How slots get their files here: which ways are possible, and which of them are taken."""

from __future__ import annotations

from collections.abc import Iterator

from stratum_git.app.config import Config
from stratum_git.app.doctor.finding import Finding
from stratum_git.slots.building import Possible, chosen
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import ORDER

WHAT = {
    "overlay": "laid over a checkout that all share: milliseconds, however many files there are",
    "snapshot": "a snapshot of a checkout: as quick, and it waits for the disk",
    "warm": "the slot of a task that is over, made clean: at most a third of a checkout",
    "reflink": "a copy that shares its blocks with a checkout: quicker where files are large",
    "cold": "checked out by git: always possible",
}


def ways(folders: StateFolders, config: Config) -> Iterator[Finding]:
    """Says of each way whether it is possible or why not, and which are taken. All are tried again."""
    obstacles = Possible(folders).obstacles(afresh=True)
    for way in ORDER:
        why = obstacles.get(way, "")
        yield Finding(f"slots: {way}", "ok", f"not possible: {why}" if why else WHAT[way])
    forced = config.slots_rung
    agents, clients = (chosen(obstacles, forced, visible=visible) for visible in (False, True))
    why = obstacles.get(forced, "")
    if why:
        detail = f"the settings want {forced}, which is not possible: {agents} is taken"
        yield Finding("slots", "warn", detail, why)
        return
    wanted = "" if forced == "auto" else f" (slots.rung is {forced})"
    yield Finding("slots", "ok", f"for agents: {agents}; for clients: {clients}{wanted}")
