"""How a flow is told in short. Loads nothing that takes time."""

from __future__ import annotations

from stratum_git.core.wording import SCHEMA_VERSION, status_word, terminal_word
from stratum_git.store.headers import OVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratum_git.model.ids import Json
    from stratum_git.store.headers import Header, Listing


def flow_rows(found: Listing) -> list[Json]:
    """Returns every flow of a list with the keys of the protocol."""
    return [brief_row(header) for header in found.headers]


def gate_rows(found: Listing) -> list[Json]:
    """Returns the gates at which flows of a list wait for a decision, with the protocol's keys."""
    return [gate_row(header) for header in found.headers if header.status == "awaiting_gate"]


def session_rows(found: Listing) -> list[Json]:
    """Returns every session and verification of a list in short."""
    return [session_row(header) for header in found.headers if header.session is not None]


def long_row(header: Header) -> Json:
    """Returns all that is known of a flow in short."""
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


def session_row(header: Header) -> Json:
    """Returns a session or a verification in short."""
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


def brief_row(header: Header) -> Json:
    """Returns a flow with the keys of the protocol."""
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


def gate_row(header: Header) -> Json:
    """Returns the gate at which a flow waits, with the keys of the protocol."""
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
