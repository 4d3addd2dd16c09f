"""A step that one agent of a runner does."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from stratum_git.core.budgets import over
from stratum_git.core.conversations import goes_on
from stratum_git.core.program import tries_of
from stratum_git.core.quorum import HOPELESS
from stratum_git.core.route import Turn, abandoned, failed, succeeded, with_step
from stratum_git.model.effects import Land, Launch, Stop
from stratum_git.model.messages import (
    Completed,
    DroppedResult,
    Halted,
    Landed,
    LandedResult,
    Lost,
    Opened,
    ParkedResult,
    Rejected,
    StepReported,
)
from stratum_git.model.spec import Step
from stratum_git.model.state import (
    Failed,
    FlowState,
    Landing,
    Output,
    Pending,
    Running,
    Succeeded,
    Verified,
    Working,
)


def opened(state: FlowState, step: Step, event: Opened) -> Turn:
    """Hands the step to its agent; a turn of a session waits for a runner first."""
    if state.book.session is not None:
        return with_step(state, step.id, Working(event.base, event.target, Pending(), event.at)), ()
    working = Working(event.base, event.target, Running(1), event.at)
    return with_step(state, step.id, working), (Launch(step.id, None, 1),)


def reported(state: FlowState, step: Step, now: Working, task: Running, event: StepReported) -> Turn:
    """Goes on after an attempt."""
    spent = over(state, step) if state.cancelling is None else None
    if spent is not None and not isinstance(event.outcome, Completed):
        more = event.outcome.findings if isinstance(event.outcome, Rejected) else task.findings
        return failed(state, step, Failed((spent, *more)), (), event.at)
    if (task.stopping is not None and spent is None) or state.cancelling is not None:
        return abandoned(state, step, task.stopping or state.cancelling or "", None)
    match event.outcome:
        case Completed(base, result, output):
            return _done(state, step, now, Verified(task.attempt, base, result, output), event.at)
        case Rejected(kind, findings):
            if kind in HOPELESS or task.failures + 1 >= tries_of(state.program, step):
                lines = (f"{kind}: {'; '.join(findings)}",)
                return failed(state, step, Failed(lines), (), event.at)
            on = goes_on(event.outcome, task.goes_on)
            again = Running(task.attempt + 1, task.failures + 1, findings=findings, goes_on=on)
            return _relaunch(state, step, now, again)
        case Lost():
            again = Running(task.attempt + 1, task.failures, findings=task.findings)
            return _relaunch(state, step, now, again)
        case Halted(why, _):
            return failed(state, step, Failed((f"stopped: {why}",)), (), event.at)
        case _ as never:
            assert_never(never)


def landed(state: FlowState, step: Step, now: Working, event: Landed) -> Turn:
    """Goes on after the step's result was landed, or set aside."""
    output: Output = (now.task.output if isinstance(now.task, Verified) else None,)
    entry = event.entries[0] if event.entries else None
    if isinstance(entry, LandedResult):
        return succeeded(state, step, Succeeded(), output, event.at)
    return failed(state, step, Failed((_unplaced(entry),)), output, event.at)


def _unplaced(entry: ParkedResult | DroppedResult | None) -> str:
    if isinstance(entry, DroppedResult):
        return f"{entry.kind}: {'; '.join(entry.findings)}"
    return f"the result conflicts in {', '.join(entry.paths) if entry else 'the target'}"


def wound_down(state: FlowState, step: Step, now: Working, why: str, at: float) -> Turn | None:
    """Ends the step because a budget is spent, when its agent was stopped; ``None`` when it needs none."""
    if isinstance(now.task, Pending):
        return failed(state, step, Failed((why, *now.task.findings)), (), at)
    if isinstance(now.task, Running) and now.task.stopping is None:
        stop = Stop(step.id, None, now.task.attempt, why)
        return with_step(state, step.id, replace(now, task=replace(now.task, stopping=why))), (stop,)
    return None


def resumed(state: FlowState, step: Step, now: Working, task: Pending) -> Turn:
    """Launches the attempt that an interruption put back."""
    running = Running(task.attempt + 1, task.failures, findings=task.findings, goes_on=task.goes_on)
    state = with_step(state, step.id, replace(now, task=running))
    return state, (_launch(step, running),)


def _relaunch(state: FlowState, step: Step, now: Working, task: Running) -> Turn:
    if state.paused:
        put_back = Pending(0, task.attempt - 1, task.failures, task.findings, goes_on=task.goes_on)
        return with_step(state, step.id, replace(now, task=put_back)), ()
    state = with_step(state, step.id, replace(now, task=task))
    return state, (_launch(step, task),)


def _launch(step: Step, task: Running) -> Launch:
    return Launch(step.id, None, task.attempt, task.findings, goes_on=task.goes_on)


def _done(state: FlowState, step: Step, now: Working, task: Verified, at: float) -> Turn:
    if task.result == task.base:
        return succeeded(state, step, Succeeded(), (task.output,), at)
    landing = Landing(replace(now, task=task))
    return with_step(state, step.id, landing), (Land(step.id),)
