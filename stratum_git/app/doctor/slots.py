"""How slots get their files here: which ways are possible, and which of them are taken."""

from __future__ import annotations

from collections.abc import Iterator

from stratum_git.app.config import Config
from stratum_git.app.doctor.finding import Finding
from stratum_git.slots.building import chosen, trials_here
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import ORDER
from stratum_git.slots.private import why_not
from stratum_git.slots.probing import look

WHAT = {
    "overlay": "laid over a checkout that all share: milliseconds, however many files there are",
    "snapshot": "a snapshot of a checkout: as quick, and it waits for the disk",
    "warm": "the slot of a task that is over, made clean: at most a third of a checkout",
    "reflink": "a copy that shares its blocks with a checkout: quicker where files are large",
    "cold": "checked out by git: always possible",
}

APART = "; in a namespace that a run enters, where agents have no `sudo` and containers do not see the files"


def ways(folders: StateFolders, config: Config) -> Iterator[Finding]:
    """Says of each way whether it is possible or why not, and which are taken. All are tried again."""
    obstacles = dict(look(folders, trials_here()).obstacles)
    clients, apart = chosen(obstacles, config.slots_rung, visible=True), False
    if obstacles.get("overlay"):
        # Runs go there, and this process does not.
        why = why_not(folders)
        apart = not why
        obstacles["overlay"] = f"{obstacles['overlay']}; in a namespace: {why}" if why else ""
    for way in ORDER:
        why, where = obstacles.get(way, ""), APART if way == "overlay" and apart else ""
        yield Finding(f"slots: {way}", "ok", f"not possible: {why}" if why else f"{WHAT[way]}{where}")
    forced = config.slots_rung
    agents = chosen(obstacles, forced, visible=False)
    why = obstacles.get(forced, "")
    if why:
        detail = f"the settings want {forced}, which is not possible: {agents} is taken"
        yield Finding("slots", "warn", detail, why)
        return
    wanted = "" if forced == "auto" else f" (slots.rung is {forced})"
    yield Finding("slots", "ok", f"for agents: {agents}; for clients: {clients}{wanted}")
