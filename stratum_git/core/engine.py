"""The flow engine: one event in, the next state and what to do about it out.

Nothing here reads a clock, a file or a random number. Everything an outcome depends on is in the
arguments, so folding a flow's events always rebuilds its state. An event about an attempt that is no longer
current changes nothing and returns the very state it was given: agents may report late, twice, or after
they were given up for lost.
"""

from __future__ import annotations

from typing import TypeAlias

from stratum_git.core import afterwards, asking, fanning, gates, resolving, sessions, single, spending
from stratum_git.core.checkpoints import checkpointed, reverted
from stratum_git.core.questions import is_over, outstanding
from stratum_git.core.route import Turn, abandoned, enter, finish, weighed, with_step
from stratum_git.model.changing import replace
from stratum_git.model.choosing import Chosen
from stratum_git.model.chunks import Chunks
from stratum_git.model.effects import Effect, Stop, Sync
from stratum_git.model.messages import (
    Answered,
    Called,
    CancelRequested,
    Checkpointed,
    Considered,
    Event,
    GateResolved,
    Gathered,
    Landed,
    LandedLater,
    LandingBlocked,
    LoopAborted,
    LoopReported,
    LoopStarted,
    Opened,
    Resumed,
    Reverted,
    SkipRequested,
    Started,
    StepReported,
    Suspended,
    Synced,
    TaskReported,
    Undone,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.sessions import Continued, ReviewBegan, Reviewed, SessionClosed
from stratum_git.model.sightings import Sighted
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.spending import BudgetSpent
from stratum_git.model.state import (
    Asked,
    AtGate,
    Considering,
    FannedOut,
    FlowState,
    Landing,
    Opening,
    Pending,
    PendingSync,
    Program,
    Running,
    StepState,
    Waiting,
    Working,
)

StepEvent: TypeAlias = (
    Considered
    | Answered
    | SkipRequested
    | Called
    | Gathered
    | LoopStarted
    | LoopReported
    | LoopAborted
    | Opened
    | StepReported
    | TaskReported
    | Chosen
    | GateResolved
    | Landed
    | LandingBlocked
    | Sighted
    | BudgetSpent
)
FOLLOWS = (Considered, Called, Opened, Synced, Sighted)
"""Events that only follow from the one before: what that one was told off for still stands."""


def begin(program: Program, event: Started) -> Turn:
    """Returns the state of a new flow after its first event."""
    state = FlowState(
        program=program,
        flow=event.flow,
        inputs=event.inputs,
        base=event.base,
        target=event.target,
        started=event.at,
        steps=Chunks.of(Waiting() for _ in program.order),
        outputs=Chunks.of(() for _ in program.order),
        seq=1,
        updated=event.at,
        driver=event.driver,
        parent=event.parent,
        parent_step=event.parent_step,
    )
    return enter(sessions.begun(state, event), 0, event.at)


def advance(state: FlowState, event: Event) -> Turn:
    """Returns the state after *event*, and the effects it calls for, in order."""
    charged = spending.charged(state, event)
    after, effects = _react(charged, event)
    if after is charged:
        return state, ()
    after, effects = spending.settled(after, effects, event)
    after = sessions.noted(after, event)
    if not isinstance(event, FOLLOWS):
        hops = replace(after.book, hops=0) if after.book.hops else after.book
        setback = None if after.setback is state.setback else after.setback
        after = replace(after, book=hops, setback=setback)
    return replace(after, seq=state.seq + 1, updated=event.at), effects


def _react(state: FlowState, event: Event) -> Turn:
    match event:
        case Synced():
            return _synced(state, event)
        case Checkpointed():
            return checkpointed(state, event)
        case Reverted():
            return reverted(state, event)
        case LandedLater():
            return afterwards.landed_later(state, event)
        case Undone():
            return afterwards.undone(state, event)
        case Started():
            return state, ()
        case ResolvingBegan():
            return resolving.began(state, event), ()
        case ResolvingEnded():
            return resolving.ended(state, event), ()
        case Continued():
            return sessions.continued(state, event)
        case SessionClosed():
            return sessions.closed(state, event), ()
        case ReviewBegan():
            return sessions.review_began(state, event), ()
        case Reviewed():
            return sessions.reviewed(state, event), ()
        case _ if is_over(state):
            return state, ()
        case CancelRequested():
            return _cancel(state, event)
        case Suspended():
            return (state, ()) if state.paused else (replace(state, paused=True), ())
        case Resumed():
            return _resumed(state)
        case _:
            return _step_event(state, event) if event.step == state.cursor else (state, ())


def _step_event(state: FlowState, event: StepEvent) -> Turn:
    step, now = state.program.steps[event.step], state.step(event.step)
    if state.driver == "client":
        turn = _client_event(state, step, now, event)
        if turn is not None:
            return turn
    match event, now:
        case Considered(), Considering():
            state = replace(state, book=replace(state.book, hops=state.book.hops + 1))
            return weighed(state, step, event.at, skip=event.skip)
        case Opened(), Opening():
            return fanning.opened(state, step, now, event)
        case StepReported(), Working(task=Running() as task) if task.attempt == event.attempt:
            return single.reported(state, step, now, task, event)
        case TaskReported(), FannedOut():
            return fanning.task_reported(state, step, now, event)
        case Chosen(), FannedOut():
            return fanning.chosen(state, step, now, event)
        case Sighted(), FannedOut():
            same = event.collisions == now.collisions
            after = replace(now, collisions=event.collisions)
            return (state, ()) if same else (with_step(state, step.id, after), ())
        case BudgetSpent(), _:
            return spending.exhausted(state, step, event), ()
        case GateResolved(), AtGate():
            return gates.resolved(state, step, now, event)
        case Landed(), Landing():
            return _landed(state, step, now, event)
        case LandingBlocked(), Landing(blocked=()):
            blocked = (event.reason, *event.paths)
            return finish(with_step(state, step.id, replace(now, blocked=blocked)), "blocked")
        case _:
            return state, ()


def _client_event(state: FlowState, step: Step, now: StepState, event: StepEvent) -> Turn | None:
    match event, now:
        case Answered(), Asked():
            return asking.answered(state, step, now, event)
        case Called(), Asked(child=None):
            return asking.called(state, step, now, event)
        case LoopStarted(), Asked():
            return asking.loop_started(state, step, event)
        case LoopReported(), Asked():
            return asking.loop_reported(state, step, event)
        case LoopAborted(), Asked():
            return asking.loop_aborted(state, step, event)
        case SkipRequested(), Asked() | FannedOut() | Opening() | Landing():
            return asking.skip_requested(state, step, event)
        case Gathered(), FannedOut():
            return fanning.gathered(state, step, now, event)
        case _:
            return None


# --- landing ----------------------------------------------------------------------------------------------


def _landed(state: FlowState, step: Step, now: Landing, event: Landed) -> Turn:
    effects: tuple[Effect, ...] = ()
    state = replace(state, status="running")  # it may have been blocked until now
    if event.old != event.new:
        pending = PendingSync(event.target, event.old, event.new)
        state = replace(state, unsynced=(*state.unsynced, pending))
        effects = (Sync(event.target, event.old, event.new),)
    if isinstance(now.work, FannedOut):
        after, more = fanning.landed(state, step, now.work, event)
    else:
        after, more = single.landed(state, step, now.work, event)
    return after, (*effects, *more)


def _synced(state: FlowState, event: Synced) -> Turn:
    left = tuple(s for s in state.unsynced if s.target != event.target)
    return (state, ()) if left == state.unsynced else (replace(state, unsynced=left), ())


# --- cancelling, resuming ---------------------------------------------------------------------------------


def _cancel(state: FlowState, event: CancelRequested) -> Turn:
    if state.cursor is None:
        return finish(replace(state, cancelling=event.why), "cancelled")
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    if event.task is not None:
        return fanning.task_cancelled(state, step, now, event.task, event.why)
    if state.cancelling is not None:
        return state, ()
    state = replace(state, cancelling=event.why)
    match now:
        case FannedOut():
            return fanning.all_cancelled(state, step, now, event.why, event.at)
        case Working(task=Running() as task):
            stopping = replace(now, task=replace(task, stopping=event.why))
            stop = Stop(step.id, None, task.attempt, event.why)
            return with_step(state, step.id, stopping), (stop,)
        case Landing(work=work):
            return abandoned(state, step, event.why, work if isinstance(work, FannedOut) else None)
        case _:
            return abandoned(state, step, event.why, None)


def _resumed(state: FlowState) -> Turn:
    """Takes the flow up. A resume is an event even when it changes nothing: history shows who took over."""
    state = replace(state, paused=False)
    if state.cursor is None:
        return state, outstanding(state)
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    launches: tuple[Effect, ...] = ()
    match now:
        case Landing() if now.blocked:
            state = replace(with_step(state, step.id, replace(now, blocked=())), status="running")
        case FannedOut() if isinstance(step.work, Dispatch):
            state, launches = fanning.resumed(state, step, step.work, now)
        case Working(task=Pending() as task):
            state, launches = single.resumed(state, step, now, task)
        case _:
            pass
    return state, (*outstanding(state), *launches)
