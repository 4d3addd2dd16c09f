"""A conflict in hand, that somebody resolves: whose it is, where its slot is, what may be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.afterwards import Bench
from stratum_git.app.reading import step_of
from stratum_git.app.recovery import inhabited, place_of, rescued
from stratum_git.core import resolving
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.errors import BugError, UserError
from stratum_git.model.ids import StepId, TaskId
from stratum_git.model.state import FannedOut, Merged, Parked, Resolving
from stratum_git.slots.occupancy import Occupant


class NoConflictError(UserError):
    """The task has no conflict that could be resolved now."""

    word = "NO_CONFLICT"


class BeingResolvedError(UserError):
    """Somebody else resolves the conflict."""

    word = "BEING_RESOLVED"


class NotOpenError(UserError):
    """Nobody resolves the conflict, or its slot is gone."""

    word = "NOT_OPEN"


@dataclass(frozen=True, slots=True)
class Case:
    """A conflict of a flow in hand, that somebody resolves."""

    bench: Bench
    step: StepId
    task: TaskId
    parked: Parked
    who: Resolving

    @property
    def context(self) -> Context:
        """Returns what work in the repository is done with."""
        return self.bench.context

    @property
    def occupant(self) -> Occupant:
        """Returns whose slot it is."""
        return Occupant(self.bench.state.flow, self.step, self.task, self.who.attempt)

    @property
    def folder(self) -> Path:
        """Returns the attempt's own folder."""
        return self.context.folders.attempt(self.bench.state.flow, self.step, self.task, self.who.attempt)


def place_named(bench: Bench, task: str) -> tuple[StepId, TaskId]:
    """Returns the step that a task is of, and the task; raises NoConflictError where it is at work."""
    step = StepId(step_of(bench.state, task))
    if step == task:
        raise NoConflictError(f"{task} is a step; only conflicts of tasks can be resolved")
    if isinstance(bench.state.step(step), FannedOut):
        hint = f"`stratum-git resume {bench.state.flow}` goes on with it"
        raise NoConflictError(f"the step {step} is still at work on its tasks", hint=hint)
    return step, TaskId(task)


def parked_in(bench: Bench, step: StepId, task: TaskId) -> Parked:
    """Returns the parked conflict of a task; raises NoConflictError."""
    found = resolving.parked_at(bench.state, step, task)
    if found is not None:
        return found
    hint = f"`stratum-git conflicts {bench.state.flow}` tells what is parked"
    if merged_in(bench, step, task) is not None:
        raise NoConflictError(f"{task} has landed; there is no conflict", hint=hint)
    raise NoConflictError(f"{task} is not parked in a conflict", hint=hint)


def merged_in(bench: Bench, step: StepId, task: TaskId) -> Merged | None:
    """Returns what landed of a task, if it did."""
    fan = fan_of(bench.state.step(step))
    now_ = None if fan is None else fan.tasks[fan.graph.index[task]]
    return now_ if isinstance(now_, Merged) else None


def open_case(bench: Bench, step: StepId, task: TaskId) -> Case:
    """Returns the conflict that the user resolves; raises NotOpenError when nobody does."""
    parked = parked_in(bench, step, task)
    if parked.resolving is None:
        hint = f"`stratum-git resolve {bench.state.flow} {task}` opens it"
        raise NotOpenError(f"nobody resolves the conflict of {task}", hint=hint)
    return Case(bench, step, task, parked, owner_of(bench, step, task, parked))


def owner_of(bench: Bench, step: StepId, task: TaskId, parked: Parked) -> Resolving:
    """Returns who resolves a conflict; raises BeingResolvedError when that is not the user."""
    who = parked.resolving
    if who is None:
        raise BugError(f"nobody resolves {task}")
    if who.by != bench.context.identity.name:
        found = bench.context.pool.find(Occupant(bench.state.flow, step, task, who.attempt))
        where = f" in {found[0]}" if found is not None else ""
        hint = "agree with him; his `--abort` gives it free and keeps what he did"
        raise BeingResolvedError(f"{who.by} resolves the conflict of {task}{where}", hint=hint)
    return who


@contextmanager
def entered(case: Case) -> Iterator[SlotPlace]:
    """Gives the slot, held by this process; it stays its tenant's, until the flow says otherwise."""
    slot = case.context.pool.enter(case.occupant)
    if slot is None and case.context.pool.find(case.occupant) is not None:
        raise busy(case)
    if slot is None:
        hint = f"`stratum-git resolve {case.bench.state.flow} {case.task}` opens it again"
        raise NotOpenError(f"the slot with the conflict of {case.task} is gone", hint=hint)
    try:
        yield SlotPlace(case.context, slot, case.folder, slot.base)
    finally:
        if slot.lock.is_locked:
            case.context.pool.leave(slot)


def clear(bench: Bench, step: StepId, task: TaskId) -> None:
    """Gives back slots of a task that nobody works in any more; what is in them is on refs, or gets one."""
    spare = inhabited(bench.state)
    others = frozenset(who for who in bench.context.pool.occupants() if (who.step, who.task) != (step, task))
    for slot in bench.context.pool.recover(bench.state.flow, spare=spare | others):
        place = place_of(bench.context, slot)
        rescued(bench.context, place)
        place.close()


def busy(case: Case) -> UserError:
    """Returns what is said while another process is in the slot."""
    return NotOpenError(
        f"another process is in the slot of {case.task}", hint="call it again when that is over"
    )
