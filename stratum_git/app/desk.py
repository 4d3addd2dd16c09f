"""The flows that clients drive, as this process knows them: loaded once, checked against their refs.

A call is decided on the state that the repository has now, and recorded by compare-and-swap together with
everything that moves with it. Whoever loses a race decides again. Several servers may so serve one flow, and
whoever approves a gate in a terminal is heard at the next call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from filelock import FileLock, Timeout

from stratum_git.app.disk import DiskFiles
from stratum_git.app.leasing import lease_updates
from stratum_git.app.recovery import give_back, tidy
from stratum_git.app.refused import Refused
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.teller import Teller
from stratum_git.app.workshop import make_context
from stratum_git.core.engine import advance, begin
from stratum_git.core.questions import outputs, outstanding
from stratum_git.core.skipping import holds
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.opening import open_step
from stratum_git.dispatch.publishing import result_updates
from stratum_git.dispatch.withholding import hidden_event, refuse_secrets
from stratum_git.errors import BugError, StratumError
from stratum_git.git.refs import Applied, RefSession, RefUpdate, read_ref, tip_nowait
from stratum_git.model.effects import Consider, Open
from stratum_git.model.ids import FlowId, Oid, RefName, StepId
from stratum_git.model.messages import Considered, Event, Started
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry, FlowLog, Lost, Stored, first_spec, load, spec_at, tidy_up
from stratum_git.store.listing import UnknownFlowError, flow_ref

KEPT = 64
"""Flows that stay loaded; those used longest ago are read again."""
RACES = 100
TIDYING = 0.5
"""Seconds that are spent on deleting when the client leaves."""
PATIENCE = 30.0
"""Seconds to wait for another process that is in the middle of a call about the same flow."""

GLANCE = 0.5
"""Seconds to wait for one who only looks whether a flow is run; a runner has it for much longer."""

Decide = Callable[[FlowState], Sequence[Event]]
"""What a call comes to on the present state: events, or none when there is nothing to record. May refuse."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease on which a report rests: what is recorded counts only while the ref is still there."""

    ref: RefName
    token: Oid


@dataclass
class Held:
    """A flow that is loaded: the commit of its last event, its state, and what writes it.

    Who has the ``turn`` does what follows from a call, which may take minutes; with the ``guard`` one looks,
    or records. So a flow that is landing can be looked at, and cancelled, as from another process.
    """

    stored: Stored
    log: FlowLog
    spec: str
    began_with: Oid | None = None
    turn: threading.RLock = field(default_factory=threading.RLock)
    guard: threading.RLock = field(default_factory=threading.RLock)

    @property
    def state(self) -> FlowState:
        """Returns the state, as of the last look."""
        return self.stored.state


@dataclass
class Desk:
    """The flows of one repository. Safe for several threads. To be closed."""

    around: Surroundings
    _context: Context | None = None
    _refs: RefSession | None = None
    _teller: Teller | None = None
    _held: OrderedDict[FlowId, Held] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def context(self) -> Context:
        """Returns what work in the repository is done with; raises NotARepository."""
        with self._lock:
            if self._context is None:
                repo = self.around.repository()
                self._context = make_context(self.around, repo, ())
                self._refs = RefSession(repo, "stratum-git", durable=True)
                self._teller = Teller(repo.common_dir)
                give_back(self._context)
            return self._context

    @property
    def files(self) -> DiskFiles:
        """Returns the files that a client's steps may ask about."""
        return DiskFiles(self.context.repo, self.around.cwd)

    def move(self, update: RefUpdate) -> bool:
        """Moves one ref, and returns whether it was where it was expected to be."""
        repo, refs = self.context.repo, self._refs
        if refs is None:
            raise BugError(f"no session for {repo.root}")
        return isinstance(refs.transact([update], self.context.writer.sync), Applied)

    def close(self) -> None:
        """Ends the gits that wait for questions, and throws away what nobody needs."""
        with self._lock:
            if self._teller is not None:
                self._teller.close()
            if self._context is not None:
                with suppress(StratumError, OSError):
                    # The client has left: nobody is there to be told, and the next one does it as well.
                    tidy(self._context, TIDYING)
                    tidy_up(self._context.repo, self._context.writer)
            if self._refs is not None:
                self._refs.close()
            if self._context is not None:
                self._context.close()

    def begin(self, program: Program, started: Started, spec: str) -> FlowState:
        """Records the first event of a flow, and whatever follows from it at once."""
        context = self.context
        refuse_secrets(context.secrets, spec, started.inputs)
        state, effects = begin(program, started)
        entries = self._followed([Entry(started, state, effects)])
        log = FlowLog(context.repo, context.writer, context.identity, spec, self._refs)
        answer = log.append(started.flow, None, entries, self._moves(started.flow, entries))
        if isinstance(answer, Lost):
            raise BugError(f"there is a flow called {started.flow} already")
        self._keep(started.flow, Held(answer, log, spec))
        self._note(answer)
        return answer.state

    def intact(self, flow: FlowId) -> None:
        """Refuses when the spec that a flow has now is not the one that it began with."""
        repo, held = self.context.repo, self._held.get(flow)
        has: Oid | None
        if held is not None and tip_nowait(repo, flow_ref(flow)) == held.stored.tip:
            if held.began_with is None:
                held.began_with = first_spec(repo, held.stored.tip)
            began_with, has = held.began_with, held.log.spec
        else:
            # Not loaded, or changed by somebody: his spec need not even be one that can be loaded.
            began_with, has = self._specs(flow)
        if began_with != has:
            raise Refused(
                "spec_modified",
                f"the spec of {flow} is not the one that it began with",
                hint="begin a new flow with the new spec",
                status="spec_modified",
                error="Flow definition was modified during execution. Revert changes and retry.",
                expected_checksum=began_with,
                actual_checksum=has,
            )

    def spec_of(self, flow: FlowId) -> str:
        """Returns the text of a flow's spec."""
        return self._open(flow).spec

    def found_out(self, state: FlowState) -> list[Event]:
        """Returns what a flow waits for that only takes a look."""
        found = (self._found_out(state, effect) for effect in outstanding(state))
        return [event for event in found if event is not None][:1]

    def look(self, flow: FlowId) -> FlowState:
        """Returns the state of a flow as the repository has it now."""
        held = self._open(flow)
        with held.guard:
            self._catch_up(flow, held)
            return held.state

    def act(self, flow: FlowId, decide: Decide, *fences: Fence) -> FlowState:
        """Records what *decide* says of the flow as it is now; returns its state after that.

        What is recorded is so, whatever happens afterwards; what *decide* raises changes nothing. Nothing is
        recorded once a lease of *fences* is another's.
        """
        held = self._open(flow)
        with held.guard:
            for _ in range(RACES):
                self._catch_up(flow, held)
                entries = self._decided(held.state, decide(held.state))
                if not entries or self._record(flow, held, entries, fences):
                    return held.state
        raise BugError(f"lost {RACES} races for {flow} in a row")

    @contextmanager
    def alone(self, flow: FlowId) -> Iterator[None]:
        """Keeps other processes from acting for the flow meanwhile; raises Refused when a runner has it."""
        held, locks = self._open(flow), self.context.folders.locks
        with ExitStack() as stack:
            if not held.turn.acquire(timeout=PATIENCE):
                raise Refused("flow_busy", f"another call is at work on the flow {flow}", flow_id=flow)
            stack.callback(held.turn.release)
            for name, patience in ((f"call-{flow}.lock", PATIENCE), (f"flow-{flow}.lock", GLANCE)):
                lock = FileLock(locks / name, thread_local=False, poll_interval=0.01, mode=0o600)
                try:
                    stack.enter_context(lock.acquire(timeout=patience))
                except Timeout as error:
                    message = f"another process is at work on the flow {flow}"
                    raise Refused("flow_busy", message, flow_id=flow) from error
            yield

    def _specs(self, flow: FlowId) -> tuple[Oid, Oid | None]:
        repo = self.context.repo
        tip = read_ref(repo, flow_ref(flow))
        if tip is None:
            raise _unknown(flow)
        return first_spec(repo, tip), spec_at(repo, tip)

    def _open(self, flow: FlowId) -> Held:
        with self._lock:
            if flow not in self._held:
                stored, spec = self._loaded(flow)
                context = self.context
                log = FlowLog(context.repo, context.writer, context.identity, spec, self._refs)
                self._keep(flow, Held(stored, log, spec))
            self._held.move_to_end(flow)
            return self._held[flow]

    def _loaded(self, flow: FlowId) -> tuple[Stored, str]:
        try:
            return load(self.context.repo, flow)
        except UnknownFlowError as error:
            raise _unknown(flow) from error

    def _keep(self, flow: FlowId, held: Held) -> None:
        with self._lock:
            self._held[flow] = held
            while len(self._held) > KEPT:
                self._held.popitem(last=False)

    def _catch_up(self, flow: FlowId, held: Held) -> None:
        if tip_nowait(self.context.repo, flow_ref(flow)) != held.stored.tip:
            held.stored, spec = self._loaded(flow)
            if spec != held.spec:
                context = self.context
                held.spec = spec
                held.log = FlowLog(context.repo, context.writer, context.identity, spec, self._refs)

    def _decided(self, state: FlowState, events: Sequence[Event]) -> list[Entry]:
        entries = []
        for told in events:
            event = hidden_event(self.context.secrets, told)
            after, effects = advance(state, event)
            if after is not state:
                entries.append(Entry(event, after, effects))
                state = after
        return self._followed(entries) if entries else []

    def _followed(self, entries: list[Entry]) -> list[Entry]:
        """Returns *entries* with the events that follow from them by looking, and without doing anything."""
        while True:
            events = self.found_out(entries[-1].after)
            if not events:
                return entries
            after, effects = advance(entries[-1].after, events[0])
            entries.append(Entry(events[0], after, effects))

    def _found_out(self, state: FlowState, effect: object) -> Event | None:
        match effect:
            case Consider(step):
                return Considered(now(), "stratum-git", step, self._is_skipped(state, step))
            case Open(step):
                return open_step(self.context, state, step)
            case _:
                return None

    def _is_skipped(self, state: FlowState, step: StepId) -> bool:
        source = state.program.steps[step].skip_if or ""
        return holds(source, state.inputs, outputs(state), self.files)

    def _record(self, flow: FlowId, held: Held, entries: Sequence[Entry], fences: Sequence[Fence]) -> bool:
        answer = held.log.append(flow, held.stored.tip, entries, self._moves(flow, entries, fences))
        if isinstance(answer, Stored):
            held.stored = answer
            self._note(answer)
            return True
        if any(answer.ref == fence.ref for fence in fences):
            raise Refused("lease_lost", "the task was given to somebody else meanwhile")
        return False

    def _note(self, stored: Stored) -> None:
        if self._teller is not None:
            self._teller.note(stored)

    def _moves(self, flow: FlowId, entries: Sequence[Entry], fences: Sequence[Fence] = ()) -> list[RefUpdate]:
        """Returns the refs that move with *entries*: results, branches, the target, leases."""
        events = [entry.event for entry in entries]
        effects = [effect for entry in entries for effect in entry.effects]
        repo = self.context.repo
        known = {fence.ref: fence.token for fence in fences}
        leases = lease_updates(self.context, flow, events, effects, known)
        return [*result_updates(repo, flow, events), *leases]


def _unknown(flow: FlowId) -> Refused:
    return Refused("flow_not_found", f"No active flow with id '{flow}'", hint="stratum_flows lists them")
