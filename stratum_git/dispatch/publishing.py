"""The refs that move with an event: what an attempt left, the branch a developer looks at, the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stratum_git.core.contest import number_of
from stratum_git.dispatch.keeping import moves_to
from stratum_git.dispatch.names import attempt_ref, branch_ref, conflict_ref
from stratum_git.git.refs import RefUpdate, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.choosing import Chosen
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import (
    Completed,
    Event,
    Gathered,
    Landed,
    LandedLater,
    Outcome,
    ParkedResult,
    Rejected,
    StepReported,
    TaskReported,
    Undone,
)
from stratum_git.model.resolutions import ResolvingEnded

KEEPING = ("refs/stratum/attempts/", "refs/stratum/conflicts/")
"""Refs that never move away from what they were at."""


def result_updates(repo: Repository, flow: FlowId, events: Sequence[Event]) -> tuple[RefUpdate, ...]:
    """Returns the refs that the results of *events* are published under."""
    wanted: dict[RefName, Oid] = {}
    landings: list[Landed | LandedLater | Undone] = []
    for event in events:
        if isinstance(event, StepReported):
            wanted |= dict(_published(flow, event.step, None, event.attempt, event.outcome))
        elif isinstance(event, TaskReported):
            wanted |= dict(_published(flow, event.step, event.task, event.attempt, event.outcome))
        elif isinstance(event, Gathered):
            for report in event.reports:
                wanted |= dict(_published(flow, event.step, report.task, report.attempt, report.outcome))
        elif isinstance(event, ResolvingEnded):
            wanted |= dict(_resolved(flow, event))
        elif isinstance(event, Undone):
            landings.append(event)
        elif isinstance(event, Chosen):
            results = (one.result for one in event.ranking if one.task == event.candidate)
            wanted |= {branch_ref(flow, event.step, event.task): oid for oid in results if oid is not None}
        elif isinstance(event, Landed | LandedLater):
            landings.append(event)
            wanted |= {
                conflict_ref(flow, event.step, entry.task): entry.conflict
                for entry in event.entries
                if isinstance(entry, ParkedResult)
            }
    moved = tuple(_moved(repo, event) for event in landings if event.new != event.old)
    return (*_from_where_they_are(repo, wanted), *moved)


def _resolved(flow: FlowId, event: ResolvingEnded) -> Iterator[tuple[RefName, Oid]]:
    if event.result is None:
        return
    yield branch_ref(flow, event.step, event.task), event.result
    if not event.done:
        yield attempt_ref(flow, event.step, event.task, event.attempt), event.result
    if event.conflict is not None:
        yield conflict_ref(flow, event.step, event.task), event.conflict


def _published(
    flow: FlowId, step: StepId, task: TaskId | None, attempt: int, outcome: Outcome
) -> Iterator[tuple[RefName, Oid]]:
    result = outcome.result
    base = outcome.base if isinstance(outcome, Completed | Rejected) else None
    if result is None or result == base:
        return
    # A completed result is on its branch and a parent of its event; only what is nobody's result yet
    # needs a ref of its own to be found by. So do candidates, of which all but one never land.
    if not isinstance(outcome, Completed) or (task is not None and number_of(task) is not None):
        yield attempt_ref(flow, step, task, attempt), result
    yield branch_ref(flow, step, task), result


def _from_where_they_are(repo: Repository, wanted: dict[RefName, Oid]) -> Iterator[RefUpdate]:
    for ref, oid in wanted.items():
        if ref.startswith(KEEPING):
            # Attempts are numbered from 1 again when a flow goes back; what they left before stays.
            yield from moves_to(repo, ref, oid)
            continue
        now = tip_nowait(repo, ref)
        if now != oid:
            yield RefUpdate(ref, oid, now)


def _moved(repo: Repository, event: Landed | LandedLater | Undone) -> RefUpdate:
    fresh = not isinstance(event, Undone) and tip_nowait(repo, event.target) is None
    return RefUpdate(event.target, event.new, None if fresh else event.old)
