"""A flow with a step of every kind, and the events with which a client drives it."""

from __future__ import annotations

from stratum_git.core import fanout
from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.model.effects import Ask, AwaitGate, Consider, Effect, Land, Open, Summon, Sync
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import (
    Answered,
    Called,
    Completed,
    Considered,
    Event,
    GateResolved,
    Landed,
    LandedResult,
    LandingEntry,
    LoopReported,
    LoopStarted,
    Opened,
    Outcome,
    ParkedResult,
    Rejected,
    SkipRequested,
    Started,
    Synced,
    TaskReport,
    Verdict,
)
from stratum_git.model.state import FannedOut, FlowState, Landing, Program

BASE = Oid("b" * 40)
RESULT = Oid("c" * 40)
MAIN = RefName("refs/heads/main")

WHOLE = """
version: "0.4"
contracts: {R: {ok: {type: boolean}}}
functions:
  work: {mode: infer, intent: work, output: R, ensure: [result.ok]}
  review: {mode: gate, timeout: 60}
flows:
  within: {input: {}, steps: [{id: x, intent: x}]}
  main:
    input: {tasks: {type: array}, quick: {type: boolean}}
    max_rounds: %(rounds)d
    steps:
      - {id: plan, function: work}
      - id: draft
        intent: draft
        depends_on: [plan]
        retries: %(retries)d
        ensure: [result.ok]
        on_fail: mend
        next: maybe
      - {id: mend, intent: mend, depends_on: [draft], next: draft}
      - {id: maybe, intent: maybe, depends_on: [mend], skip_if: $.input.quick, ensure: [result.ok]}
      - id: refine
        intent: refine
        depends_on: [maybe]
        retries: 2
        ensure: [result.ok]
        max_iterations: 4
        score_expr: result.n
      - {id: inner, flow: within, depends_on: [refine]}
      - id: flagged
        function: review
        depends_on: [inner]
        policy: flag
        on_approve: passed
        on_revise: draft
        on_kill: null
      - id: passed
        function: review
        depends_on: [flagged]
        skip_if: $.input.quick
        on_approve: ask
        on_revise: refine
        on_kill: null
      - {id: ask, function: review, depends_on: [passed], on_approve: build, on_revise: plan, on_kill: clean}
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        depends_on: [ask]
        intent_template: "do {task.id}"
        max_concurrent: 2
        retries: %(retries)d
        task_retries: %(task_retries)d
        require: %(require)s
        on_quorum: %(on_quorum)s
      - {id: close, intent: close, depends_on: [build], ensure: [result.ok]}
      - {id: clean, intent: clean, depends_on: [close]}
"""

OUTCOMES: dict[str, Outcome] = {
    "done": Completed(BASE, RESULT, {"ok": True}),
    "same": Completed(BASE, BASE),
    "failed": Rejected("agent", ("no",), BASE, RESULT),
    "nothing": Rejected("no_change", ("no file was changed",), BASE),
    "clash": Rejected("base", ("it conflicts",)),
}


def program(spec: str) -> Program:
    """Returns what the flow main of *spec* executes."""
    loaded = load_spec(spec)
    assert loaded.spec is not None, loaded.problems
    compiled = compile_program(loaded.spec, "main")
    assert isinstance(compiled, Program), compiled
    return compiled


def start(spec: str, **inputs: Json) -> FlowState:
    """Returns a flow of a client at its beginning."""
    return begin(program(spec), started(inputs))[0]


def started(inputs: dict[str, Json]) -> Started:
    return Started(0.0, "me", FlowId("f-1"), "main", inputs, BASE, MAIN, driver="client")


def then(state: FlowState, *events: Event) -> FlowState:
    """Returns a flow after *events*, each of which has to change something."""
    for event in events:
        before, (state, _) = state, advance(state, event)
        assert state is not before, event
    return state


def answer(step: str, verdict: Verdict = "ok", result: Json = None, at: float = 1.0) -> Answered:
    violations = () if verdict == "ok" else (f"{step} is not good",)
    return Answered(at, "client", StepId(step), result, verdict, violations)


def skip(step: str, why: str = "not needed") -> SkipRequested:
    return SkipRequested(1.0, "client", StepId(step), why)


def resolve(step: str, outcome: str, at: float = 1.0) -> GateResolved:
    assert outcome in {"approve", "revise", "kill"}
    return GateResolved(at, "human", StepId(step), outcome, "because")  # type: ignore[arg-type]


def loop(step: str) -> LoopStarted:
    return LoopStarted(1.0, "client", StepId(step))


def pass_of(
    step: str, result: Json = None, *, digest: str = "", met: bool = False, score: float | None = None
) -> LoopReported:
    return LoopReported(1.0, "client", StepId(step), result, digest, met, score)


def opened(step: str) -> Opened:
    return Opened(1.0, "s", StepId(step), BASE, MAIN)


def reports(**outcomes: str) -> tuple[TaskReport, ...]:
    return tuple(TaskReport(TaskId(task), OUTCOMES[kind]) for task, kind in outcomes.items())


def landed(state: FlowState, step: StepId, *parked: str) -> Landed:
    """Returns the landing of whatever may land now, all of it but for what is *parked*."""
    now = state.step(step)
    entries: list[LandingEntry] = []
    if isinstance(now, Landing) and isinstance(now.work, FannedOut):
        for name in (now.work.graph.tasks[index].id for index in fanout.candidates(now.work)):
            conflict = ParkedResult(name, RESULT, BASE, ("x",))
            entries.append(conflict if name in parked else LandedResult(name, RESULT, RESULT))
    return Landed(3.0, "s", step, MAIN, BASE, RESULT, tuple(entries))


def performed(state: FlowState, effect: Effect) -> Event:
    """Returns the event that says that somebody did what *effect* asks for."""
    match effect:
        case Consider(step):
            return Considered(1.0, "s", step, skip=False)
        case Summon(step):
            return Called(1.0, "s", step, FlowId("f-2"))
        case Ask(step):
            return answer(step)
        case Open(step):
            return opened(step)
        case AwaitGate(step):
            return resolve(step, "approve")
        case Land(step):
            return landed(state, step)
        case Sync(target):
            return Synced(1.0, "s", target)
        case _:
            raise AssertionError(effect)
