"""What can be asked of all flows at once."""

from __future__ import annotations

from stratum_git.app.surroundings import Surroundings
from stratum_git.model.ids import Json
from stratum_git.store.listing import headers


def flows(around: Surroundings) -> list[Json]:
    """Returns every flow of the repository in short, oldest first."""
    return [_summary(row) for row in headers(around.repository())]


def gates(around: Surroundings) -> list[Json]:
    """Returns the gates at which flows wait for a decision."""
    waiting = [row for row in headers(around.repository()) if row.get("status") == "awaiting_gate"]
    return [{"flow_id": row["flow"], "flow_name": row["name"], "step_id": row["cursor"]} for row in waiting]


def _summary(row: dict[str, Json]) -> Json:
    keys = ("status", "base", "target", "started", "updated", "steps", "tasks")
    named = {"flow_id": row["flow"], "flow_name": row["name"], "current_step_id": row["cursor"]}
    return {**named, "events": row["seq"], **{key: row[key] for key in keys}}
