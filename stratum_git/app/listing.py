"""What can be asked of all flows at once."""

from __future__ import annotations

from dataclasses import dataclass

from stratum_git.app.surroundings import Surroundings
from stratum_git.core.wording import SCHEMA_VERSION, status_word, terminal_word
from stratum_git.model.ids import Json
from stratum_git.store.listing import Header, list_flows, list_open

OVER = frozenset({"complete", "failed", "cancelled", "killed"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer, and a sentence for each flow that it had to leave out."""

    rows: list[Json]
    remarks: tuple[str, ...] = ()


def flows(around: Surroundings) -> list[Json]:
    """Returns every flow of the repository with all that is known of it in short, oldest first."""
    return long_flows(around).rows


def long_flows(around: Surroundings, last: int | None = None) -> Listed:
    """Returns what :func:`flows` does, and what could not be read; or the *last* ones that began."""
    found = list_flows(around.repository(), last)
    return Listed([_long(header) for header in found.headers], found.remarks)


def brief_flows(around: Surroundings, last: int | None = None) -> Listed:
    """Returns every flow with the keys of the protocol, oldest first; or the *last* ones that began."""
    found = list_flows(around.repository(), last)
    return Listed([_brief(header) for header in found.headers], found.remarks)


def gates(around: Surroundings) -> Listed:
    """Returns the gates at which flows wait for a decision, with the protocol's keys."""
    found = list_open(around.repository())
    return Listed([_gate(h) for h in found.headers if h.status == "awaiting_gate"], found.remarks)


def session_rows(around: Surroundings) -> Listed:
    """Returns every session and verification of the repository in short, oldest first."""
    found = list_flows(around.repository())
    return Listed([_session(header) for header in found.headers if header.session is not None], found.remarks)


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


def _session(header: Header) -> Json:
    facts = header.session or {}
    status = "idle" if header.status in OVER else "running"
    status = "closed" if facts.get("closed") is not None else status
    if facts.get("kind") == "review" and header.status in OVER:
        status = "over"
    return {
        "session_id": header.flow,
        "kind": facts.get("kind"),
        "session_status": status,
        "turn_status": facts.get("turn_status"),
        "turns": facts.get("turns"),
        "agent": facts.get("agent"),
        "profile": facts.get("profile"),
        "conversation": facts.get("conversation"),
        "branch": header.target.removeprefix("refs/heads/"),
        "base": header.base,
        "commit": facts.get("commit"),
        "started": header.started,
        "updated": header.updated,
        "prompt": facts.get("prompt"),
        "last": facts.get("last"),
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
