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

from filelock import Timeout

from stratum_git.app.asked import Asked, Decide, Fence, Together
from stratum_git.app.disk import DiskFiles
from stratum_git.app.joint_refs import JointRefs
from stratum_git.app.known_leases import KnownLeases
from stratum_git.app.leasing import lease_updates
from stratum_git.app.line import Line
from stratum_git.app.locks import locked
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
from stratum_git.git.refs import Applied, RefUpdate, read_ref, tip_nowait
from stratum_git.model.effects import Consider, Open
from stratum_git.model.ids import FlowId, Oid, RefName, StepId
from stratum_git.model.messages import Considered, Event, Started
from stratum_git.model.state import FlowState, Program
from stratum_git.slots.leases import Lease
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
    line: Line[Asked] = field(default_factory=Line)

    @property
    def state(self) -> FlowState:
        """Returns the state, as of the last look."""
        return self.stored.state


@dataclass
class Desk:
    """The flows of one repository. Safe for several threads. To be closed."""

    around: Surroundings
    _context: Context | None = None
    _refs: JointRefs | None = None
    _teller: Teller | None = None
    _leases: KnownLeases | None = None
    _wanted: set[RefName] = field(default_factory=set)
    _held: OrderedDict[FlowId, Held] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def context(self) -> Context:
        """Returns what work in the repository is done with; raises NotARepository."""
        with self._lock:
            if self._context is None:
                repo = self.around.repository()
                self._context = make_context(self.around, repo, ())
                self._refs = JointRefs(repo, "stratum-git", durable=True)
                self._leases = KnownLeases(repo)
                self._teller = Teller(repo.common_dir)
                give_back(self._context)
            return self._context

    @property
    def files(self) -> DiskFiles:
        """Returns the files that a client's steps may ask about."""
        return DiskFiles(self.context.repo, self.around.cwd)

    @property
    def leases(self) -> KnownLeases:
        """Returns the leases of the repository."""
        if self._leases is None:
            raise BugError("no leases without a repository")
        return self._leases

    def write_lease(self, lease: Lease) -> Oid:
        """Writes a lease and returns its token."""
        return self.leases.write(self.context.writer, lease)

    def move(self, update: RefUpdate) -> bool:
        """Moves one ref, and returns whether it was where it was expected to be."""
        repo, refs = self.context.repo, self._refs
        if refs is None:
            raise BugError(f"no session for {repo.root}")
        return isinstance(refs.transact([update], self.context.writer.sync), Applied)

    @contextmanager
    def wanting(self, ref: RefName) -> Iterator[bool]:
        """Gives whether no other call of this process is about to move *ref*, and keeps others from it."""
        with self._lock:
            is_first = ref not in self._wanted
            self._wanted.add(ref)
        try:
            yield is_first
        finally:
            if is_first:
                self._wanted.discard(ref)

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
        self._keep(started.flow, Held(answer, log, spec, began_with=log.spec))
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

    def line_of(self, flow: FlowId) -> Line[Asked]:
        """Returns where those wait who report about a flow."""
        return self._open(flow).line

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
        asked = Asked(decide, fences)
        self.act_together(flow, [asked])
        return asked.outcome()

    def act_together(
        self, flow: FlowId, asked: Sequence[Asked], is_rest: Callable[[FlowState], bool] = lambda _: True
    ) -> int:
        """Records what the first of *asked* come to, each on the state after those before; returns how many.

        There are no more after one that leaves the flow in a state that *is_rest* does not hold for. Each is
        what it would be by itself: where they cannot be recorded as one, the first is recorded alone.
        """
        held = self._open(flow)
        with held.guard:
            for _ in range(RACES):
                self._catch_up(flow, held)
                batch = self._batched(flow, held.state, asked, is_rest)
                failed = self._record(flow, held, batch)
                if failed is None or batch.blames(failed, asked):
                    return batch.tell(asked)
                if not (isinstance(failed, Lost) and failed.ref == flow_ref(flow)):
                    asked = asked[:1]
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
                try:
                    stack.enter_context(locked(locks / name, patience))
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

    def _batched(
        self, flow: FlowId, state: FlowState, asked: Sequence[Asked], is_rest: Callable[[FlowState], bool]
    ) -> Together:
        """Returns what the first of *asked* come to, of which no two move the same ref."""
        batch = Together()
        for one in asked:
            try:
                entries = self._decided(state, one.decide(state))
                moves = self._moves(flow, entries, one.fences) if entries else []
            except Exception as error:  # noqa: BLE001 - told to whose call it is, and to nobody else
                batch.outcomes.append(error)
                continue
            if batch.moves_any(moves):
                break
            if entries:
                batch.add(entries, moves)
                state = entries[-1].after
            else:
                batch.outcomes.append(state)
            if not is_rest(state):
                break
        return batch

    def _record(self, flow: FlowId, held: Held, batch: Together) -> Lost | Exception | None:
        """Records a batch; returns why that could not be done, if so."""
        if not batch.entries:
            return None
        try:
            answer = held.log.append(flow, held.stored.tip, batch.entries, batch.moves)
        except Exception as error:  # noqa: BLE001 - as above
            return error
        if isinstance(answer, Lost):
            return answer
        held.stored = answer
        self._note(answer)
        return None

    def _note(self, stored: Stored) -> None:
        if self._teller is not None:
            self._teller.note(stored)

    def _moves(self, flow: FlowId, entries: Sequence[Entry], fences: Sequence[Fence] = ()) -> list[RefUpdate]:
        """Returns the refs that move with *entries*: results, branches, the target, leases."""
        events = [entry.event for entry in entries]
        effects = [effect for entry in entries for effect in entry.effects]
        repo = self.context.repo
        known = {fence.ref: fence.token for fence in fences}
        leases = lease_updates(self.context, flow, events, effects, known, self.write_lease)
        return [*result_updates(repo, flow, events), *leases]


def _unknown(flow: FlowId) -> Refused:
    return Refused("flow_not_found", f"No active flow with id '{flow}'", hint="stratum_flows lists them")
