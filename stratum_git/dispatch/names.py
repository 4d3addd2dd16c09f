"""The refs of an attempt."""

from __future__ import annotations

from stratum_git.model.ids import OWN, FlowId, Oid, RefName, StepId, TaskId


def branch_ref(flow: FlowId, step: StepId, task: TaskId | None) -> RefName:
    """Returns the branch that a developer looks at."""
    return RefName(f"refs/heads/stratum/{flow}/{task if task is not None else step}")


def attempt_ref(flow: FlowId, step: StepId, task: str | None, attempt: int) -> RefName:
    """Returns the ref of what an attempt left behind."""
    return RefName(f"refs/stratum/attempts/{flow}/{step}/{task or OWN}/{attempt}")


def conflict_ref(flow: FlowId, step: StepId, task: TaskId | None) -> RefName:
    """Returns the ref of a parked conflict."""
    return RefName(f"refs/stratum/conflicts/{flow}/{step}/{task or OWN}")


def stash_ref(flow: FlowId, step: StepId, task: str | None, attempt: int, oid: Oid) -> RefName:
    """Returns the ref of what an attempt left in the stash of its private clone."""
    return RefName(f"refs/stratum/stashes/{flow}/{step}/{task or OWN}/{attempt}/{oid[:12]}")


def rest_ref(attempt: RefName) -> RefName:
    """Returns the ref of what an attempt left besides its files."""
    return RefName(f"{attempt}-rest")


def seen_ref(attempt: RefName) -> RefName:
    """Returns the ref of what was last seen of an attempt of a client's that is under way."""
    return RefName(f"{attempt}-seen")


def former_ref(ref: RefName, oid: Oid) -> RefName:
    """Returns the ref that keeps what *ref* was at before something else got that name."""
    return RefName(f"{ref}-{oid[:12]}")


def session_ref(flow: FlowId) -> RefName:
    """Returns the branch of a session; it is there before its first turn begins."""
    return RefName(f"refs/heads/stratum/{flow}/session")
