"""The protocol's calls about loops: a client does a step several times, until the result is good enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from stratum_git.app.desk import Desk
from stratum_git.app.refused import Refused
from stratum_git.core.answers import Answer
from stratum_git.core.expr import Broken, evaluate
from stratum_git.dispatch.clock import now
from stratum_git.model.book import Pass
from stratum_git.model.ids import FlowId, Json, StepId
from stratum_git.model.messages import Event, LoopAborted, LoopReported, LoopStarted
from stratum_git.model.spec import Gate, Step
from stratum_git.model.state import Asked, FlowState


@dataclass(frozen=True, slots=True)
class Score:
    """What a pass is worth; ``None`` where that cannot be told, and why."""

    value: float | None = None
    error: str | None = None


def start(desk: Desk, flow: FlowId, step: StepId, by: str) -> Answer:
    """Begins a loop on the current step."""

    def decide(state: FlowState) -> list[Event]:
        _check_start(state, step)
        return [LoopStarted(now(), by, step)]

    with desk.alone(flow):
        state = desk.act(flow, decide)
    spec = state.program.steps[step]
    return {
        "status": "iteration_started",
        "flow_id": flow,
        "step_id": step,
        "max_iterations": spec.max_iterations,
        "exit_criterion": spec.exit_criterion,
        "iteration": 0,
    }


def report(desk: Desk, flow: FlowId, step: StepId, result: Json, by: str) -> Answer:
    """Takes the result of one pass, and says whether there is to be another."""
    wrong: str | None = None

    def decide(state: FlowState) -> list[Event]:
        nonlocal wrong
        spec = _looping(state, step)
        score = _score(desk, spec, result)
        met, wrong = _met(desk, state, spec, result, score)
        text = json.dumps(result, sort_keys=True)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return [LoopReported(now(), by, step, result, digest, met, score.value, score.error)]

    with desk.alone(flow):
        state = desk.act(flow, decide)
    passes = state.book.passes[step]
    made = passes[len(passes) - 1]
    answer = _passed(state, step, made)
    return answer if wrong is None else {**answer, "exit_criterion_error": wrong}


def abort(desk: Desk, flow: FlowId, step: StepId, reason: str, by: str) -> Answer:
    """Ends a loop before it has come to anything."""

    def decide(state: FlowState) -> list[Event]:
        _looping(state, step)
        return [LoopAborted(now(), by, step, reason)]

    with desk.alone(flow):
        state = desk.act(flow, decide)
    passes = state.book.passes[step]
    answer: Answer = {
        "status": "iteration_aborted",
        "flow_id": flow,
        "step_id": step,
        "iteration": passes[len(passes) - 1].number,
        "reason": reason,
    }
    best = state.book.best.get(step)
    if best is not None:
        return {**answer, "best_result": best.result, "best_score": best.score}
    if state.program.steps[step].score_expr is not None:
        return {**answer, "best_result": None, "best_score": None}
    return answer


def _passed(state: FlowState, step: StepId, made: Pass) -> Answer:
    over = made.outcome != "continue"
    answer: Answer = {
        "status": "iteration_exit" if over else "iteration_continue",
        "flow_id": state.flow,
        "step_id": step,
        "iteration": made.number,
        "max_iterations": state.program.steps[step].max_iterations,
        "exit_criterion_met": made.met,
        "outcome": made.outcome,
    }
    best = state.book.best.get(step)
    if over and best is not None:
        found: Answer = {"best_score": best.score, "best_iteration": best.number}
        return {**answer, "final_result": best.result, **found}
    return {**answer, "final_result": made.result} if over else answer


def _check_start(state: FlowState, step: StepId) -> None:
    if state.cursor is None:
        raise _misuse("Flow is already complete")
    if state.cursor != step:
        raise _misuse(f"Expected step '{state.cursor}', got '{step}'")
    spec, book = state.program.steps[step], state.book
    if isinstance(spec.work, Gate):
        raise _misuse(f"Step '{step}' is a gate step — cannot start iteration loop")
    if spec.max_iterations is None:
        raise _misuse(f"Step '{step}' does not have max_iterations defined")
    if not isinstance(state.step(step), Asked):
        raise _misuse(f"Step '{step}' is not the client's to do now")
    if book.loop is not None:
        raise _misuse(f"Iteration loop already active on step '{book.loop.step}'")
    if step in book.exits:
        was = book.exits[step]
        message = f"Step '{step}' already has a pending iteration outcome ('{was}')"
        raise _misuse(f"{message} — call stratum_step_done first")


def _looping(state: FlowState, step: StepId) -> Step:
    loop = state.book.loop
    if loop is None:
        raise _misuse("No active iteration loop")
    if loop.step != step:
        raise _misuse(f"Active iteration is on step '{loop.step}', got report for '{step}'")
    return state.program.steps[step]


def _score(desk: Desk, step: Step, result: Json) -> Score:
    source = step.score_expr
    if source is None:
        return Score()
    found = evaluate(source, {"result": result}, desk.files)
    if isinstance(found, Broken):
        return Score(error=f"Score expression {source!r} raised: {found.reason}")
    if isinstance(found.value, bool) or not isinstance(found.value, int | float):
        kind = type(found.value).__name__
        what = f"bool ({found.value})" if isinstance(found.value, bool) else f"non-numeric type {kind}"
        return Score(error=f"Score expression {source!r} returned {what}, expected numeric")
    return Score(float(found.value))


def _met(desk: Desk, state: FlowState, step: Step, result: Json, score: Score) -> tuple[bool, str | None]:
    source = step.exit_criterion
    if source is None:
        return False, None
    found = evaluate(source, _names(state, step, result, score), desk.files)
    if isinstance(found, Broken):
        return False, f"Ensure expression {source!r} raised: {found.reason}"
    return bool(found.value), None


def _names(state: FlowState, step: Step, result: Json, score: Score) -> Mapping[str, Json]:
    names: dict[str, Json] = {"result": result, "input": dict(state.inputs)}
    if step.score_expr is None:
        return names
    loop, best = state.book.loop, state.book.best.get(step.id)
    known = [value for value in (score.value, None if best is None else best.score) if value is not None]
    prior: list[Json] = [p.score for p in state.book.passes.get(step.id, ()) if p.score is not None]
    count = 1 if loop is None else loop.count + 1
    return {**names, "best_score": max(known, default=None), "prior_scores": prior, "iteration": count}


def _misuse(message: str) -> Refused:
    return Refused("execution_error", message, success=False)
