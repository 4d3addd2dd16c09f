"""Runs flows: starts one, takes one up again, ends one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from filelock import FileLock, Timeout

from stratum_git.agents.identity import own_identity
from stratum_git.app import foresight
from stratum_git.app.leasing import is_claimed
from stratum_git.app.recovery import clear_locks, give_back, give_back_of, recover, tidy
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.teller import Teller
from stratum_git.app.telling import tell
from stratum_git.app.workshop import make_context, signature
from stratum_git.core.engine import begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program, unserved
from stratum_git.core.questions import fan_of, in_flight, is_over, outstanding
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import DEFAULT_TIMEOUT, Context
from stratum_git.dispatch.driver import Driver
from stratum_git.dispatch.journal import Journal
from stratum_git.dispatch.leasing import Leases
from stratum_git.dispatch.limits import PATIENCE
from stratum_git.dispatch.notices import Notice, Recorded, Remark, Watcher
from stratum_git.dispatch.promptness import prompt
from stratum_git.dispatch.withholding import refuse_secrets
from stratum_git.errors import StratumError, UserError
from stratum_git.git.repository import Repository, head_of, resolve, valid_branch
from stratum_git.model.effects import Effect
from stratum_git.model.ids import FlowId, Json, TaskId
from stratum_git.model.messages import CancelRequested, Event, GateResolved, Resumed, Started
from stratum_git.model.spec import Dispatch, Gate, Problem
from stratum_git.model.state import AtGate, FannedOut, FlowState, Landing, Opening, Program
from stratum_git.slots.leases import read_leases
from stratum_git.spawn.client import serving
from stratum_git.store.flows import Entry, FlowLog, Lost, load


class InvalidSpecError(UserError):
    """A spec has problems; they are in ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(f"the spec is not valid: {first.path}: {first.message}{more}", hint=first.hint)
        self.problems = tuple(problems)


class BusyFlowError(UserError):
    """Another process runs the flow."""


class FlowOverError(UserError):
    """The flow has ended; nothing changes it any more."""


TIDYING = 2.0
"""Seconds that a run spends at its end on deleting what it threw away; the rest is for the next one."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: a spec's text, which of its flows, with which inputs and agents, onto which branch."""

    spec: str
    flow: str | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    agents: tuple[str, ...] = ()
    target: str | None = None
    by: str | None = None


@dataclass
class Handle:
    """A run, for whoever wants to interrupt it."""

    driver: Driver | None = None

    def interrupt(self) -> None:
        """Ends the run; its work is kept and the flow can be resumed."""
        if self.driver is not None:
            self.driver.interrupt("the user")


async def run(around: Surroundings, request: RunRequest, watch: Watcher, handle: Handle) -> FlowState:
    """Runs a flow to its end, or to where somebody has to decide; returns its last state."""
    program = check_spec(request.spec, request.flow)
    repo = around.repository()
    context = make_context(around, repo, request.agents)
    inputs = check_inputs(program, request.inputs)
    foresight.check(program, inputs, context.agents)
    refuse_secrets(context.secrets, request.spec, inputs)
    await context.git(partial(give_back, context))
    first = started(repo, program, inputs, request)
    _check_revisions(repo, program)
    with (
        _sole_runner(context, first.flow),
        FlowLog(repo, context.writer, signature(repo), request.spec) as log,
    ):
        state, effects = begin(program, first)
        stored = await context.git(lambda: log.append(first.flow, None, [Entry(first, state, effects)]))
        if isinstance(stored, Lost):
            raise BusyFlowError(f"there is a flow called {first.flow} already")
        watch(Recorded(first, state, effects, stored.tip))
        driver = _driver(context, Journal(repo, log, stored), watch, handle)
        return await _driven(driver, effects)


async def resume(
    around: Surroundings, flow: FlowId, agents: Sequence[str], watch: Watcher, handle: Handle
) -> FlowState:
    """Takes a flow up where it stands; work that a dead runner left behind is kept first."""
    repo = around.repository()
    context = make_context(around, repo, agents)
    load(repo, flow)
    with _sole_runner(context, flow):
        stored, spec = load(repo, flow)
        await context.git(partial(give_back, context))
        if is_over(stored.state) and not stored.state.unsynced:
            await context.git(partial(tell, context, stored.state))
            await context.git(partial(_leave_tidy, context, stored.state))
            raise FlowOverError(f"the flow {flow} is {stored.state.status}; there is nothing to resume")
        check_takeover(repo, stored.state)
        only = stored.state.cursor if stored.state.driver == "client" else None
        if not is_over(stored.state):
            foresight.check(stored.state.program, stored.state.inputs, context.agents, only)
        with FlowLog(repo, context.writer, signature(repo), spec) as log:
            first: tuple[Event, ...] = (Resumed(now(), _who(repo)), *_overdue(stored.state))
            return await _take_up(context, Journal(repo, log, stored), watch, handle, first)


async def cancel(around: Surroundings, flow: FlowId, task: str | None, why: str, watch: Watcher) -> FlowState:
    """Asks whoever runs the flow to stop it, or one task of it; when nobody runs it, stops it here."""
    repo = around.repository()
    context = make_context(around, repo, ())
    stored, spec = load(repo, flow)
    if is_over(stored.state):
        raise FlowOverError(f"the flow {flow} is {stored.state.status}; there is nothing to cancel")
    event = CancelRequested(now(), _who(repo), why, None if task is None else _task(stored.state, task))
    with FlowLog(repo, context.writer, signature(repo), spec) as log:
        journal = Journal(repo, log, stored)
        try:
            with _sole_runner(context, flow):
                if task is None:
                    stored, _ = load(repo, flow)
                    return await _take_up(context, Journal(repo, log, stored), watch, Handle(), (event,))
                await context.git(lambda: journal.record([event], lambda *_: []))
                return journal.state
        except BusyFlowError:
            await context.git(lambda: journal.record([event], lambda *_: []))
            return await _until_heeded(context, journal, task)


def check_spec(text: str, flow: str | None) -> Program:
    """Returns the program of a spec; raises InvalidSpecError with every problem."""
    loaded = load_spec(text)
    if loaded.spec is None:
        raise InvalidSpecError(loaded.problems)
    program = compile_program(loaded.spec, flow)
    if not isinstance(program, Program):
        raise InvalidSpecError(program)
    wanting = unserved(program)
    if wanting:
        raise InvalidSpecError(wanting)
    return program


def check_inputs(program: Program, given: Mapping[str, Json]) -> dict[str, Json]:
    """Returns the inputs of a flow with defaults filled in; raises UserError for unknown and missing ones."""
    declared = program.flow.input
    unknown = [name for name in given if declared and name not in declared]
    if unknown:
        raise UserError(f"the flow has no input {unknown[0]}", hint=f"it has: {', '.join(declared)}")
    inputs = dict(given)
    for name, facts in declared.items():
        if name in inputs:
            continue
        row = facts if isinstance(facts, dict) else {}
        if "default" in row:
            inputs[name] = row["default"]
        elif row.get("required", True):
            raise UserError(f"the flow needs the input {name}", hint=f"--input {name}=VALUE, or {name}=@FILE")
    return inputs


async def _take_up(
    context: Context, journal: Journal, watch: Watcher, handle: Handle, first: tuple[Event, ...]
) -> FlowState:
    """Records *first*, then what became of the attempts of a runner that is gone, and goes on from there."""
    found = await context.git(lambda: recover(context, journal.state))
    driver = _driver(context, journal, watch, handle)
    driver.leases.held.update(found.leases)
    effects = await driver.catch_up((*first, *found.events))
    await context.git(found.release)
    if is_over(journal.state):
        # No event changes it any more; that its checkouts follow may still be outstanding.
        effects = outstanding(journal.state)
    return await _driven(driver, effects)


async def _driven(driver: Driver, effects: Sequence[Effect]) -> FlowState:
    """Runs to the end, and tidies up when nobody needs slots any more."""
    teller, watch = Teller(driver.context.repo.common_dir), driver.watch

    def noted(notice: Notice) -> None:
        watch(notice)
        if isinstance(notice, Recorded):
            teller.note(driver.journal.stored)

    driver.watch = noted
    teller.note(driver.journal.stored)
    try:
        with prompt():
            state = await driver.drive(effects)
    finally:
        with trio.CancelScope(shield=True):
            await driver.context.git(teller.close)
    await driver.context.git(partial(tell, driver.context, state))
    try:
        await driver.context.git(partial(tidy, driver.context, TIDYING))
        await driver.context.git(partial(clear_locks, driver.context, state.flow))
    except (StratumError, OSError) as error:
        driver.watch(Remark(f"what nobody needs any more could not be deleted: {error}"))
    return state


def _leave_tidy(context: Context, state: FlowState) -> None:
    """Gives back what whoever ran a flow to its end left when he was killed there."""
    give_back_of(context, state)
    tidy(context, TIDYING)


def _driver(context: Context, journal: Journal, watch: Watcher, handle: Handle) -> Driver:
    works = (step.work for step in journal.state.program.flow.steps)
    timeouts = (work.timeout or 0.0 for work in works if isinstance(work, Dispatch))
    # An attempt may wait for room at its model's server beside the time that it has.
    lifetime = max(DEFAULT_TIMEOUT, *timeouts, 0.0) + PATIENCE
    leases = Leases(journal.log.writer, journal.state.flow, context.holder, own_identity(), lifetime)
    context.pool.tell = _from_threads(watch)
    handle.driver = Driver(context, journal, leases, watch)
    return handle.driver


def _from_threads(watch: Watcher) -> Callable[[str], None]:
    """Returns what tells *watch* a line, once, from any thread and without waiting."""
    token, told = trio.lowlevel.current_trio_token(), set[str]()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(watch, Remark(text))

    return tell


async def _until_heeded(context: Context, journal: Journal, task: str | None) -> FlowState:
    """Waits, for a while, until the runner has heard of a cancel."""
    with trio.move_on_after(30.0):
        while not is_over(journal.state) and task is None:
            await trio.sleep(0.1)
            await context.git(journal.catch_up)
    return journal.state


def started(repo: Repository, program: Program, inputs: Mapping[str, Json], request: RunRequest) -> Started:
    """Returns the event with which a flow begins now; raises UserError where it has no branch to land on."""
    head = head_of(repo)
    if request.target is not None:
        target = valid_branch(repo, request.target)
    elif head.branch is not None:
        target = head.branch
    else:
        hint = "check a branch out, or name the one that results land on: --target BRANCH"
        raise UserError("HEAD is detached, so there is no branch to land on", hint=hint)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", program.flow.name).strip(".-")[:40] or "flow"
    flow = FlowId(f"{name}-{secrets.token_hex(3)}")
    at = now()
    return Started(at, request.by or _who(repo), flow, program.flow.name, inputs, head.oid, target)


def _overdue(state: FlowState) -> tuple[Event, ...]:
    """Returns the decision at a gate that has waited for too long, if the flow is at such a one."""
    at = None if state.cursor is None else state.step(state.cursor)
    gate = None if state.cursor is None else state.program.steps[state.cursor].work
    if not isinstance(at, AtGate) or not isinstance(gate, Gate) or state.cursor is None:
        return ()
    if gate.timeout is None or now() < at.since + gate.timeout:
        return ()
    return (GateResolved(now(), "stratum-git", state.cursor, "kill", "timeout", "system"),)


def check_takeover(repo: Repository, state: FlowState) -> None:
    """Raises UserError when a runner has nothing to do in a flow: its step is the client's, or being done."""
    at = None if state.cursor is None else state.step(state.cursor)
    if state.driver == "client" and not isinstance(at, FannedOut | Landing | Opening) and not state.unsynced:
        hint = "it goes on when the client reports that step"
        raise UserError(f"the flow {state.flow} waits for its client at {state.cursor}", hint=hint)
    for held in read_leases(repo, state.flow).values():
        lease = held.lease
        if lease is not None and is_claimed(held):
            hint = "wait until it is reported, or its lease ends"
            raise BusyFlowError(f"task {lease.task} is being done by {lease.holder}", hint=hint)


def _check_revisions(repo: Repository, program: Program) -> None:
    for step in program.flow.steps:
        if isinstance(step.work, Dispatch):
            if step.work.base is not None:
                resolve(repo, step.work.base)
            if step.work.target is not None:
                valid_branch(repo, step.work.target)


def _who(repo: Repository) -> str:
    return signature(repo).name


def _task(state: FlowState, task: str) -> TaskId:
    known = [name for _, name, _ in in_flight(state) if name is not None]
    fan = fan_of(state.step(state.cursor)) if state.cursor is not None else None
    names = [t.id for t in fan.graph.tasks] if fan is not None else []
    if task not in names:
        raise UserError(f"the flow has no task {task} now", hint=f"running: {', '.join(known) or 'none'}")
    return TaskId(task)


@contextmanager
def _sole_runner(context: Context, flow: FlowId) -> Iterator[None]:
    """Holds the lock of a flow's runner; the kernel lets go of it when this process dies."""
    lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
    try:
        # A server may be in the middle of a call about the flow; that does not take long.
        lock.acquire(timeout=2.0, poll_interval=0.02)
    except Timeout as error:
        hint = f"watch it with `stratum-git log {flow}`, or end it with `stratum-git cancel {flow}`"
        raise BusyFlowError(f"another process runs the flow {flow}", hint=hint) from error
    try:
        with serving():
            yield
    finally:
        context.close()
        lock.release()
