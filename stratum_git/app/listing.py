"""What can be asked of all flows at once."""

from __future__ import annotations

from dataclasses import dataclass

from stratum_git.app.surroundings import Surroundings
from stratum_git.core.wording import SCHEMA_VERSION, status_word, terminal_word
from stratum_git.model.ids import Json
from stratum_git.store.listing import Header, list_flows


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer, and a sentence for each flow that it had to leave out."""

    rows: list[Json]
    remarks: tuple[str, ...] = ()


def flows(around: Surroundings) -> list[Json]:
    """Returns every flow of the repository with all that is known of it in short, oldest first."""
    return long_flows(around).rows


def long_flows(around: Surroundings) -> Listed:
    """Returns what :func:`flows` does, and what could not be read."""
    found = list_flows(around.repository())
    return Listed([_long(header) for header in found.headers], found.remarks)


def brief_flows(around: Surroundings) -> Listed:
    """Returns every flow of the repository with the protocol's keys, oldest first."""
    found = list_flows(around.repository())
    return Listed([_brief(header) for header in found.headers], found.remarks)


def gates(around: Surroundings) -> Listed:
    """Returns the gates at which flows wait for a decision, with the protocol's keys."""
    found = list_flows(around.repository())
    return Listed([_gate(h) for h in found.headers if h.status == "awaiting_gate"], found.remarks)


def _long(header: Header) -> Json:
    return {
        "flow_id": header.flow,
        "flow_name": header.name,
        "current_step_id": header.cursor,
        "events": header.events,
        "status": header.status,
        "base": header.base,
        "target": header.target,
        "started": header.started,
        "updated": header.updated,
        "steps": header.steps,
        "tasks": header.tasks,
    }


def _brief(header: Header) -> Json:
    return {
        "_schema_version": SCHEMA_VERSION,
        "flow_id": header.flow,
        "flow_name": header.name,
        "status": status_word(header.status, killed=header.killed),
        "current_step_id": header.cursor,
        "round": header.round,
        "step_count": header.steps,
        "completed_steps": header.position,
        "terminal_status": terminal_word(header.status, killed=header.killed),
    }


def _gate(header: Header) -> Json:
    # A flow that came to its gate before headers told of gates: its function is not known without its spec.
    facts = header.gate or {"function": ""}
    keys = ("function", "on_approve", "on_revise", "on_kill", "timeout")
    return {
        "_schema_version": SCHEMA_VERSION,
        "flow_id": header.flow,
        "flow_name": header.name,
        "step_id": header.cursor,
        **{key: facts[key] for key in keys if key in facts},
    }
