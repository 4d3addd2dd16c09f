"""Lets a person into the slot of an attempt: the very one while it is there, else one that is made for it.

What the person changes in a slot that was made for the visit becomes a commit on the attempt's ref, beside
what that was at; a kill leaves it to whoever takes up the flow next. In a slot where an agent is at work
nothing is kept apart: what is changed there is the attempt's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.agents.command import inherited
from stratum_git.app.recovery import place_of
from stratum_git.app.salvage import AtWork, Estate, NothingLeftError, survey
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.keeping import ref_of
from stratum_git.errors import HostError, UserError
from stratum_git.git.objects import Signature
from stratum_git.model.ids import FlowId, Oid
from stratum_git.slots.elsewhere import seen_by
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot
from stratum_git.spawn.visit import join


@dataclass
class Visit:
    """Where a person is: a slot, and the attempt whose it is. ``told`` is what there is to say afterwards."""

    path: Path
    flow: FlowId
    step: str
    task: str | None
    attempt: int
    welcome: str
    told: list[str] = field(default_factory=list)

    def environment(self, around: Surroundings) -> dict[str, str]:
        """Returns the person's environment, with the names that an agent is told."""
        return {
            **inherited(around.environment),
            "STRATUM_FLOW": self.flow,
            "STRATUM_STEP": self.step,
            "STRATUM_TASK": self.task or "",
            "STRATUM_ATTEMPT": str(self.attempt),
            "PWD": str(self.path),
        }


@contextmanager
def visiting(around: Surroundings, flow: FlowId, task: str, attempt: int | None) -> Iterator[Visit]:
    """Gives the slot of an attempt at a task, or at a step that one agent does: of the last one by default.

    Raises UnknownTaskError, and NothingLeftError when there is no such attempt, or none yet.
    """
    estate = survey(around, flow, task)
    busy = next((one for one in reversed(estate.at_work) if attempt in {None, one.attempt}), None)
    if busy is not None and busy.is_live:
        yield _live(estate, busy)
    elif busy is not None:
        with _left(around, estate, busy) as visit:
            yield visit
    else:
        with _over(around, estate, attempt) as visit:
            yield visit


def _live(estate: Estate, busy: AtWork) -> Visit:
    """Returns the slot that an attempt is at work in; where only its runner sees it, this process joins."""
    if not (busy.path / ".git").is_file():
        pid = seen_by(busy.path)
        if pid is None:
            what = f"the slot {busy.path} of attempt {busy.attempt} is being made, or cleared away"
            raise HostError(what, hint="try again in a moment")
        join(pid)
        if not (busy.path / ".git").is_file():
            raise HostError(f"the slot {busy.path} is not there any more", hint="try again")
    words = f"somebody is at work here: attempt {busy.attempt} of {estate.task or estate.step}"
    return _visit(estate, busy.path, busy.attempt, words)


@contextmanager
def _left(around: Surroundings, estate: Estate, busy: AtWork) -> Iterator[Visit]:
    """Gives the slot that a runner left when it was killed; meanwhile nobody takes the flow up."""
    context = make_context(around, estate.repo, ())
    with _flow_alone(context, estate.flow):
        slot = context.pool.enter(_occupant(estate, busy.attempt))
        if slot is None:
            raise HostError(f"the slot {busy.path} was cleared away meanwhile", hint="try again")
        try:
            words = f"whoever ran attempt {busy.attempt} is gone; `stratum-git resume {estate.flow}` goes on"
            yield _visit(estate, slot.path, busy.attempt, words)
        finally:
            context.pool.leave(slot)


@contextmanager
def _over(around: Surroundings, estate: Estate, attempt: int | None) -> Iterator[Visit]:
    """Gives a slot with what an attempt left, or came to; what is changed in it gets a ref."""
    number, commit = _chosen(estate, attempt)
    context = make_context(around, estate.repo, ())
    try:
        slot = context.pool.borrow(base=commit, occupant=_occupant(estate, number), recorded=True)
        visit = _visit(estate, slot.path, number, f"what attempt {number} came to, {commit}")
        try:
            yield visit
        finally:
            visit.told += _kept(context, slot, number)
    finally:
        context.close()


@contextmanager
def _flow_alone(context: Context, flow: FlowId) -> Iterator[None]:
    """Keeps others from taking a flow up; raises UserError when somebody has."""
    lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
    try:
        lock.acquire(timeout=2.0, poll_interval=0.02)
    except Timeout as error:
        raise UserError(f"somebody is taking the flow {flow} up", hint="try again in a moment") from error
    try:
        yield
    finally:
        context.close()
        lock.release()


def _chosen(estate: Estate, attempt: int | None) -> tuple[int, Oid]:
    found = estate.chosen(attempt)
    if found.files is None:
        what = f"attempt {found.number} has left no files that git has"
        raise NothingLeftError(what, hint=f"see {estate.folder(found.number)}")
    return found.number, found.files


def _kept(context: Context, slot: Slot, number: int) -> Iterator[str]:
    """Gives the slot back; says what was changed in it, and where it is now."""
    place = place_of(context, slot)
    who = context.identity
    author = Signature(who.name, who.email, now(), who.tz)
    name = slot.occupant.task or slot.occupant.step
    taken = place.capture(slot.base, f"{name}: attempt {number}\n\nWhat a person changed in it.\n", author)
    place.close()
    if taken.result != slot.base:
        yield f"what you changed is {taken.result}, on {ref_of(slot.occupant)}"


def _occupant(estate: Estate, attempt: int) -> Occupant:
    return Occupant(estate.flow, estate.step, estate.task, attempt)


def _visit(estate: Estate, path: Path, attempt: int, welcome: str) -> Visit:
    return Visit(path, estate.flow, estate.step, estate.task, attempt, f"{path}: {welcome}")
