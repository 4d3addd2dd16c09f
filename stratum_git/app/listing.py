"""What can be asked of all flows at once."""

from __future__ import annotations

from stratum_git.app import briefs
from stratum_git.app.surroundings import Surroundings
from stratum_git.model.ids import Json
from stratum_git.model.values import dataclass
from stratum_git.store.listing import list_flows, list_open


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
    return Listed([briefs.long_row(header) for header in found.headers], found.remarks)


def brief_flows(around: Surroundings, last: int | None = None) -> Listed:
    """Returns every flow with the keys of the protocol, oldest first; or the *last* ones that began."""
    found = list_flows(around.repository(), last)
    return Listed(briefs.flow_rows(found), found.remarks)


def gates(around: Surroundings) -> Listed:
    """Returns the gates at which flows wait for a decision, with the protocol's keys."""
    found = list_open(around.repository())
    return Listed(briefs.gate_rows(found), found.remarks)


def session_rows(around: Surroundings) -> Listed:
    """Returns every session and verification of the repository in short, oldest first."""
    found = list_flows(around.repository())
    return Listed(briefs.session_rows(found), found.remarks)
