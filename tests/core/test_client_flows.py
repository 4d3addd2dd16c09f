"""Whatever a client says, in whatever order and however often, its flow keeps its promises."""

from __future__ import annotations

import json
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stratum_git.core import codec
from stratum_git.core.answers import told
from stratum_git.core.audit import audit
from stratum_git.core.checkpoints import find
from stratum_git.core.engine import advance, begin
from stratum_git.core.program import tries_of
from stratum_git.core.questions import in_flight, is_over, outstanding
from stratum_git.core.rebuild import rebuild
from stratum_git.model.effects import Effect, Finish
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import (
    Called,
    CancelRequested,
    Checkpointed,
    Considered,
    Event,
    Gathered,
    Landed,
    LandingBlocked,
    LoopAborted,
    Opened,
    Resumed,
    Reverted,
    Suspended,
    Synced,
    TaskReport,
    TaskReported,
    Verdict,
)
from stratum_git.model.spec import SubFlow
from stratum_git.model.state import (
    Asked,
    AtGate,
    Considering,
    FannedOut,
    FlowState,
    Landing,
    Opening,
    StepState,
    Working,
)
from tests.core.driven import (
    BASE,
    MAIN,
    OUTCOMES,
    RESULT,
    WHOLE,
    answer,
    landed,
    loop,
    opened,
    pass_of,
    performed,
    program,
    resolve,
    skip,
    started,
)
from tests.core.files import files_of

STATUSES = {
    "execute_step", "execute_flow", "await_gate", "parallel_dispatch", "complete", "killed",
    "ensure_failed", "schema_failed", "guardrail_blocked",
}  # fmt: skip
ERRORS = {"retries_exhausted", "cancelled", "landing_blocked", "execution_error"}
AGAIN = FannedOut | Landing | Working | Opening
"""States of a step that a revert does not bring back: the step is come to anew."""

STEPS = st.sampled_from([*program(WHOLE % {
    "rounds": 1, "retries": 1, "task_retries": 0, "require": "all", "on_quorum": "cancel",
}).order])  # fmt: skip
VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from(
    [*["ok"] * 9, "schema_failed", "guardrail_blocked", "ensure_failed"]
)
DECISIONS = st.sampled_from(["approve", "approve", "approve", "revise", "kill"])
SCORES = st.sampled_from([None, 0.0, 1.0, 1.0, 2.0])


@st.composite
def graphs(draw: st.DrawFn) -> list[Json]:
    names = [f"t{n}" for n in range(draw(st.integers(0, 4)))]
    found: list[Json] = []
    for i, name in enumerate(names):
        needs = sorted(draw(st.sets(st.sampled_from(names[:i])))) if i else []
        found.append({"id": name, "depends_on": list(needs)})
    return found


def is_at(machine: ClientMachine, step: str) -> bool:
    return hasattr(machine, "state") and machine.state.cursor == step


class ClientMachine(RuleBasedStateMachine):
    """Plays a client and the shell at once: sensible calls, stray ones, repeated ones."""

    @initialize(
        graph=st.one_of(graphs(), graphs(), st.just("nonsense")),
        quick=st.booleans(),
        ahead=st.integers(0, 20),
        values=st.fixed_dictionaries(
            {
                "rounds": st.integers(1, 2),
                "retries": st.integers(1, 3),
                "task_retries": st.integers(0, 1),
                "require": st.sampled_from(["all", "any", "1", "2"]),
                "on_quorum": st.sampled_from(["cancel", "drain", "keep"]),
            }
        ),
    )
    def start(self, graph: Json, quick: bool, ahead: int, values: dict[str, object]) -> None:
        self.program = program(WHOLE % values)
        first = started({"tasks": graph, "quick": quick})
        self.log: list[Event] = [first]
        self.finished = 0
        self.state, effects = begin(self.program, first)
        self.count(effects)
        self.check()
        for effect in (effect for _ in range(ahead) for effect in outstanding(self.state)[:1]):
            self.feed(performed(self.state, effect))
            if self.state.cursor == "build":
                break
        self.feed(Checkpointed(4.0, "client", "a"))

    def feed(self, event: Event) -> None:
        before = self.state
        assert codec.decode_any(codec.load(codec.dump(codec.encode(event)))) == event
        self.state, effects = advance(before, event)
        if self.state is before:
            assert effects == ()
            return
        self.log.append(event)
        self.count(effects)
        if isinstance(event, Reverted):
            self.finished = sum([is_over(self.state)])
            self.check_revert(before, event)
        else:
            self.check_records(before)
        self.check()

    def count(self, effects: tuple[Effect, ...]) -> None:
        self.finished += sum(isinstance(e, Finish) and e.status != "blocked" for e in effects)

    def check_revert(self, before: FlowState, event: Reverted) -> None:
        found, after = find(before, event.label), self.state
        assert found is not None
        wanted = replace(
            found.state,
            checkpoints=before.checkpoints,
            seq=before.seq + 1,
            updated=event.at,
            unsynced=before.unsynced,
            spent=before.spent,
            book=replace(found.state.book, hops=0),
        )
        if wanted.cursor is not None and isinstance(wanted.step(wanted.cursor), AGAIN):
            place = self.program.position[wanted.cursor]
            wanted = replace(wanted, status="running", steps=wanted.steps.replace(place, after.steps[place]))
        assert after == wanted

    def check_records(self, before: FlowState) -> None:
        old, new = before.book, self.state.book
        kept = new.records if new.round == old.round else new.rounds[-1]
        assert tuple(kept)[: len(old.records)] == tuple(old.records)
        assert new.rounds[: len(old.rounds)] == old.rounds
        assert new.past[: len(old.past)] == old.past
        assert new.round == len(new.rounds) == len(new.past)

    # --- what a sensible client does ----------------------------------------------------------------------

    @rule()
    def do_well(self) -> None:
        if is_over(self.state):
            self.feed(Reverted(5.0, "client", "a"))
        for effect in outstanding(self.state)[:1]:
            self.feed(performed(self.state, effect))

    @rule(data=st.data())
    def proceed(self, data: st.DataObject) -> None:
        if self.state.cursor is not None:
            event = self.next_event(data, self.state.cursor, self.state.step(self.state.cursor))
            if event is not None:
                self.feed(event)

    def next_event(self, data: st.DataObject, step: StepId, now: StepState) -> Event | None:
        match now:
            case Considering():
                return Considered(1.0, "s", step, data.draw(st.booleans()))
            case Asked(child=None) if isinstance(self.program.steps[step].work, SubFlow):
                return Called(1.0, "s", step, FlowId("f-2"))
            case Asked():
                made = answer(step, data.draw(VERDICTS), {"n": 1})
                return replace(made, audit={"status": "complete"}) if now.child else made
            case AtGate():
                return resolve(step, data.draw(DECISIONS))
            case Opening():
                return opened(step)
            case FannedOut():
                return self.report(data, step, now)
            case Landing():
                return self.landing(data, step, now)
            case _:
                return None

    def report(self, data: st.DataObject, step: StepId, now: FannedOut) -> Gathered:
        kinds = st.sampled_from([None, "done", "done", "done", *sorted(OUTCOMES)])
        rows = [(task.id, data.draw(kinds)) for task in now.graph.tasks]
        found = tuple(TaskReport(task, OUTCOMES[kind]) for task, kind in rows if kind is not None)
        return Gathered(2.0, "client", step, found, conflict=data.draw(st.integers(0, 5)) == 5)

    def landing(self, data: st.DataObject, step: StepId, now: Landing) -> Event:
        how = data.draw(st.sampled_from(["all", "all", "parked", "found", "blocked"]))
        if how == "blocked":
            return LandingBlocked(3.0, "s", step, "dirty", ("a",))
        if how == "found":
            return Landed(3.0, "s", step, MAIN, BASE, BASE, (), ("it is not good",))
        names = [task.id for task in now.work.graph.tasks] if isinstance(now.work, FannedOut) else []
        return landed(self.state, step, *(names[:1] if how == "parked" else []))

    # --- what a confused one does, and others meanwhile ---------------------------------------------------

    @rule(data=st.data(), there=st.booleans(), step=STEPS)
    def say_anything(self, data: st.DataObject, there: bool, step: StepId) -> None:
        step = self.state.cursor or step if there else step
        task, attempt = TaskId(f"t{data.draw(st.integers(0, 4))}"), data.draw(st.integers(1, 3))
        outcome = OUTCOMES[data.draw(st.sampled_from(sorted(OUTCOMES)))]
        anything: list[Event] = [
            answer(step, data.draw(VERDICTS)),
            skip(step),
            resolve(step, data.draw(DECISIONS)),
            Considered(1.0, "s", step, skip=True),
            Called(1.0, "s", step, FlowId("f-3")),
            loop(step),
            pass_of(step, met=True),
            LoopAborted(1.0, "client", step, "no"),
            opened(step),
            Gathered(1.0, "client", step, (TaskReport(TaskId("none"), outcome), TaskReport(task, outcome))),
            TaskReported(1.0, "w", step, task, attempt, outcome),
            LandingBlocked(1.0, "s", step, "dirty"),
            Opened(1.0, "s", step, RESULT, MAIN),
            landed(self.state, step),
        ]
        self.feed(data.draw(st.sampled_from(anything)))

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.feed(data.draw(st.sampled_from(self.log)))

    @rule(score=SCORES, met=st.booleans(), digest=st.sampled_from("ab"), kind=st.integers(0, 6))
    @precondition(lambda self: is_at(self, "refine"))
    def go_round(self, score: float | None, met: bool, digest: str, kind: int) -> None:
        if kind == 0:
            self.feed(LoopAborted(1.0, "client", StepId("refine"), "no"))
        elif self.state.book.loop is None:
            self.feed(loop("refine"))
        else:
            self.feed(pass_of("refine", {"n": score}, digest=digest, met=met and kind == 1, score=score))

    @rule(task=st.integers(0, 4), attempt=st.integers(1, 3), kind=st.sampled_from(sorted(OUTCOMES)))
    @precondition(lambda self: is_at(self, "build"))
    def work(self, task: int, attempt: int, kind: str) -> None:
        name = TaskId(f"t{task}")
        self.feed(TaskReported(2.0, "w", StepId("build"), name, attempt, OUTCOMES[kind]))

    @rule(data=st.data(), kind=st.integers(0, 9), label=st.sampled_from("ab"))
    def go_elsewhere(self, data: st.DataObject, kind: int, label: str) -> None:
        match kind:
            case 0 if len(self.log) > 20:
                task = data.draw(st.sampled_from([None, TaskId("t0"), TaskId("t1")]))
                self.feed(CancelRequested(7.0, "me", "enough", task))
            case 1:
                self.feed(Suspended(6.0, "me"))
            case 2:
                self.feed(Resumed(6.0, "me"))
            case 3:
                self.feed(Synced(6.0, "s", MAIN))
            case 4 | 5 | 6:
                self.feed(Checkpointed(4.0, "client", label, data.draw(st.sampled_from([None, BASE]))))
            case _:
                self.feed(Reverted(5.0, "client", label))

    def teardown(self) -> None:
        """Replay rebuilds the state."""
        if hasattr(self, "state"):
            state, _ = begin(self.program, self.log[0])  # type: ignore[arg-type]
            for event in self.log[1:]:
                state, _ = advance(state, event)
            assert state == self.state

    # --- what holds after each event -----------------------------------------------------------------------

    def check(self) -> None:
        self.what_is_stored_is_the_state()
        self.the_client_is_always_told_something()
        self.whatever_is_outstanding_can_be_done()
        self.no_step_is_tried_more_often_than_it_may_be()
        self.finishes_once()
        self.is_blocked_only_while_landing()
        self.is_never_stuck()

    def what_is_stored_is_the_state(self) -> None:
        assert rebuild(self.program, files_of(self.state)) == self.state

    def the_client_is_always_told_something(self) -> None:
        said = told(self.state)
        assert said["status"] in STATUSES or said["error_type"] in ERRORS, said
        assert json.loads(json.dumps(said)) == said
        assert json.dumps(audit(self.state, 9.0))
        assert (said["status"] in {"complete", "killed"}) == (self.state.status in {"complete", "killed"})

    def whatever_is_outstanding_can_be_done(self) -> None:
        for effect in outstanding(self.state):
            after, _ = advance(self.state, performed(self.state, effect))
            assert after is not self.state, effect

    def no_step_is_tried_more_often_than_it_may_be(self) -> None:
        if self.state.cursor is not None:
            step = self.program.steps[self.state.cursor]
            now = self.state.step(step.id)
            if isinstance(now, Asked | FannedOut):
                assert now.tries < tries_of(self.program, step)

    def finishes_once(self) -> None:
        assert self.finished == (1 if is_over(self.state) else 0)

    def is_blocked_only_while_landing(self) -> None:
        at = None if self.state.cursor is None else self.state.step(self.state.cursor)
        assert (self.state.status == "blocked") == (isinstance(at, Landing) and bool(at.blocked))
        assert (self.state.status == "awaiting_gate") == isinstance(at, AtGate)

    def is_never_stuck(self) -> None:
        if self.state.status == "running":
            at = None if self.state.cursor is None else self.state.step(self.state.cursor)
            assert in_flight(self.state) or outstanding(self.state) or isinstance(at, FannedOut)


ClientMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestClientFlows = ClientMachine.TestCase
