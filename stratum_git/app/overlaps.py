"""What is told of tasks that get in each other's way while they are at work. Loads little."""

from __future__ import annotations

from stratum_git.core import landing_order
from stratum_git.core.collisions import standing
from stratum_git.model.ids import Json
from stratum_git.model.sightings import Collision
from stratum_git.model.state import FannedOut, Running, Verified


def in_the_way(fan: FannedOut) -> dict[str, Json]:
    """Returns the collisions of a step's tasks, and the order in which the fewest are set aside.

    Empty where there are none: then the tasks land in the order of their graph.
    """
    return told(fan, standing(fan))


def told(fan: FannedOut, found: tuple[Collision, ...]) -> dict[str, Json]:
    """Returns collisions, and the order that follows from them, as JSON."""
    if not found:
        return {}
    index = fan.graph.index
    alive = [i for i in fan.graph.order if isinstance(fan.tasks[i], Running | Verified)]
    order = landing_order.propose(fan.graph, alive, [(index[c.one], index[c.other]) for c in found])
    rows: list[Json] = []
    for c in found:
        row: dict[str, Json] = {"tasks": [c.one, c.other], "paths": list(c.paths), "since": c.since}
        rows.append(row | {"more_paths": c.more} if c.more else row)
    return {"collisions": rows, "landing_order": [fan.graph.tasks[i].id for i in order]}
