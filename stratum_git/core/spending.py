"""Holds a flow to its budgets: counts what every event cost, launches no more than may be, and ends the rest.

It stands behind the engine and looks at each of its turns. An attempt that may not be is put back as it was
before it was launched. Once a budget is spent, what is at work is stopped, what waits is dropped, and results
that are there count; if they are not enough the step fails. It fails in the flow's own budget for good: then
nothing that costs more is begun, whatever ``on_fail`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from stratum_git.core import asking, budgets, fanning, ripples, single
from stratum_git.core.budgets import plus
from stratum_git.core.questions import is_over
from stratum_git.core.route import Turn, with_step
from stratum_git.core.usage import Usage
from stratum_git.model.changing import replace
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.ids import StepId
from stratum_git.model.messages import Answered, Event, Gathered, Opened, StepReported, TaskReported
from stratum_git.model.spec import Step
from stratum_git.model.spending import BudgetSpent, Spent
from stratum_git.model.state import Asked, FannedOut, FlowState, Pending, Running, StepState, Working

Costly = Answered | Gathered | StepReported | TaskReported


def charged(state: FlowState, event: Event) -> FlowState:
    """Returns the flow with what *event* tells of costs counted, before anything else comes of it."""
    if not isinstance(event, Costly) or event.step not in state.program.steps:
        return state
    return _noted(_charged(state, event), state.program.steps[event.step])


def settled(after: FlowState, effects: tuple[Effect, ...], event: Event) -> Turn:
    """Returns a turn of the engine as the budgets have it."""
    launches = tuple(effect for effect in effects if isinstance(effect, Launch))
    if after.cursor is None:
        return after, effects
    step = after.program.steps[after.cursor]
    if not any(budgets.purses(after, step)):
        return (_handed_out(after, step, len(launches)) if launches else after), effects
    after = _noted(after, step)
    left = 0 if budgets.over(after, step) else budgets.dispatches_left(after, step)
    denied = () if left is None else launches[left:]
    for launch in denied:
        after = _put_back(after, launch)
    after = _handed_out(after, step, len(launches) - len(denied))
    effects = tuple(effect for effect in effects if not any(effect is one for one in denied))
    if denied and budgets.over(after, step) is None and not _is_working(after.step(step.id)):
        # Held again: what was handed out just now counts.
        for purse in budgets.purses(after, step):
            if purse.budget.dispatches is not None and purse.spent.dispatches >= purse.budget.dispatches:
                after = _ended(after, purse)
    if budgets.over(after, step) is None or is_over(after) or after.cancelling is not None:
        return after, effects
    # A step that its own budget does not even let begin ends the flow: its on_fail may lead back to it.
    final = replace(step, on_fail=None) if isinstance(event, Opened) else step
    return _wound_down(after, final, effects, event.at)


def exhausted(state: FlowState, step: Step, event: BudgetSpent) -> FlowState:
    """Returns the flow with a budget that attempts at work have used up."""
    for purse in budgets.purses(state, step):
        if purse.scope == event.scope and purse.key not in state.spent.over:
            said = budgets.sentence(purse, budgets.spent_by(event.live))
            return replace(state, spent=budgets.with_over(state.spent, purse.key, said))
    return state


def _wound_down(state: FlowState, step: Step, effects: tuple[Effect, ...], at: float) -> Turn:
    now, why = state.step(step.id), budgets.over(state, step) or ""
    turn: Turn | None = None
    if isinstance(now, FannedOut):
        turn = fanning.wound_down(state, step, now, why, at)
    elif isinstance(now, Working):
        turn = single.wound_down(state, step, now, why, at)
    elif isinstance(now, Asked):
        # It is not to be done any more.
        turn, effects = asking.wound_down(state, step, now, why, at), ()
    return (state, effects) if turn is None else (turn[0], (*effects, *turn[1]))


def _noted(state: FlowState, step: Step) -> FlowState:
    """Returns the flow with the budgets noted that are used up by now."""
    for purse in budgets.purses(state, step):
        if purse.key not in state.spent.over and budgets.is_used_up(purse):
            state = _ended(state, purse)
    return state


def _ended(state: FlowState, purse: budgets.Purse) -> FlowState:
    return replace(state, spent=budgets.with_over(state.spent, purse.key, budgets.sentence(purse)))


def _put_back(state: FlowState, launch: Launch) -> FlowState:
    """Returns the flow with an attempt that is not launched after all waiting for it."""
    now = state.step(launch.step)
    if isinstance(now, Working) and isinstance(now.task, Running):
        task = now.task
        waiting = Pending(0, task.attempt - 1, task.failures, task.findings, goes_on=task.goes_on)
        return with_step(state, launch.step, replace(now, task=waiting))
    if isinstance(now, FannedOut) and launch.task is not None:
        index = now.graph.index[launch.task]
        task_now = now.tasks[index]
        if isinstance(task_now, Running):
            return with_step(state, launch.step, ripples.put_back(now, index, task_now))
    return state


def _is_working(now: StepState) -> bool:
    match now:
        case FannedOut(running=running):
            return running > 0
        case Working(task=Running()):
            return True
        case _:
            return False


# --- what it costs ----------------------------------------------------------------------------------------


def _charged(state: FlowState, event: Costly) -> FlowState:
    step = state.program.steps[event.step]
    told = tuple(_told(event))
    cost = Spent(dispatches=_unasked(state, event) if isinstance(event, Gathered) else 0)
    for usage in told:
        cost = plus(cost, budgets.spent_by(usage))
    if state.driver == "client" and not all("ms" in usage for usage in told):
        since = max(_since(state.step(event.step), event.at), state.spent.clock)
        cost = replace(cost, ms=cost.ms + max(0, int((event.at - since) * 1000)))
        state = replace(state, spent=replace(state.spent, clock=event.at))
    return _plus(state, step, replace(cost, unseen=int(budgets.is_unseen(state, event))))


def _told(event: Costly) -> Iterable[Usage]:
    match event:
        case Answered(usage=usage):
            yield usage
        case Gathered(reports=reports):
            yield from (report.outcome.usage for report in reports)
        case StepReported(outcome=outcome) | TaskReported(outcome=outcome):
            yield outcome.usage
        case _ as never:
            assert_never(never)


def _unasked(before: FlowState, event: Gathered) -> int:
    """Returns how many of the tasks that a client reports had not been handed out before."""
    now = before.step(event.step)
    if not isinstance(now, FannedOut):
        return 0
    found = (now.tasks[now.graph.index[r.task]] for r in event.reports if r.task in now.graph.index)
    return sum(isinstance(task, Pending) for task in found)


def _handed_out(state: FlowState, step: Step, count: int) -> FlowState:
    return _plus(state, step, Spent(dispatches=count)) if count else state


def _plus(state: FlowState, step: Step, cost: Spent) -> FlowState:
    spent = state.spent
    steps: Mapping[StepId, Spent] = spent.steps
    if budgets.budget_of(state.program, step) is not None:
        steps = {**steps, step.id: plus(steps.get(step.id, Spent()), cost)}
    return replace(state, spent=replace(spent, total=plus(spent.total, cost), steps=steps))


def _since(now: StepState, at: float) -> float:
    return now.since if isinstance(now, Asked | FannedOut) else at
