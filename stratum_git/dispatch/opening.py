"""Pins what a step starts from, at the moment when the flow comes to it."""

from __future__ import annotations

from stratum_git.core.questions import outputs
from stratum_git.core.skipping import holds
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.judge import TreeFiles
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import resolve
from stratum_git.model.ids import Oid, RefName, StepId
from stratum_git.model.messages import Considered, Opened
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import FlowState


def open_step(context: Context, state: FlowState, step: StepId) -> Opened:
    """Returns the event that opens *step*: the tip of its target, unless the step names another base."""
    target = target_of(state, step)
    work = state.program.steps[step].work
    named = work.base if isinstance(work, Dispatch) else None
    base = resolve(context.repo, named) if named is not None else tip_of(context, state, target)
    return Opened(now(), "stratum-git", step, base, target)


def consider(context: Context, state: FlowState, step: StepId) -> Considered:
    """Returns the event that says whether *step* is to be skipped, by the files of its target."""
    target = target_of(state, step)
    files = TreeFiles(context.repo, tip_of(context, state, target))
    skip = holds(state.program.steps[step].skip_if or "", state.inputs, outputs(state), files)
    return Considered(now(), "stratum-git", step, skip)


def target_of(state: FlowState, step: StepId) -> RefName:
    """Returns the branch that the results of *step* land on."""
    work = state.program.steps[step].work
    if isinstance(work, Dispatch) and work.target is not None:
        return RefName(f"refs/heads/{work.target.removeprefix('refs/heads/')}")
    return state.target


def tip_of(context: Context, state: FlowState, target: RefName) -> Oid:
    """Returns where *target* stands; a branch that is not there yet begins at the flow's base."""
    return tip_nowait(context.repo, target) or state.base
