"""The protocol's calls about steps and gates: decided on the flow as it is, recorded, answered from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stratum_git.app.batches import gather, leave
from stratum_git.app.desk import Desk
from stratum_git.app.lodging import reclaim
from stratum_git.app.refused import Refused
from stratum_git.app.settling import dismiss, settle, told_with_places
from stratum_git.core.answers import Answer, told
from stratum_git.core.audit import audit as audit_of
from stratum_git.core.engine import begin
from stratum_git.core.gates import is_last_round
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program, unserved_by_client
from stratum_git.core.questions import is_over
from stratum_git.core.records import mode_of
from stratum_git.core.usage import usage_of
from stratum_git.core.verdicts import Judgement, judge_answer
from stratum_git.dispatch.clock import now
from stratum_git.git.repository import Head, head_of
from stratum_git.model.ids import FlowId, Json, RefName, StepId
from stratum_git.model.messages import Answered, Event, GateResolved, SkipRequested, Started
from stratum_git.model.spec import Dispatch, Gate, Problem, Step, SubFlow
from stratum_git.model.state import Asked, AtGate, FlowState, Program

OUTCOMES = ("approve", "kill", "revise")
RESOLVERS = ("agent", "human", "system")
KINDS = {"parse": "ir_parse_error", "shape": "ir_validation_error", "semantic": "ir_semantic_error"}


def plan(desk: Desk, spec: str, flow: str, inputs: Mapping[str, Json], by: str) -> Answer:
    """Begins a flow and returns its first step."""
    program = _program(spec, flow)
    head = head_of(desk.context.repo)
    name = FlowId(secrets.token_hex(8))
    started = Started(
        at=now(),
        by=by,
        flow=name,
        name=program.flow.name,
        inputs=_with_defaults(program, inputs),
        base=head.oid,
        target=_target(name, head),
        driver="client",
    )
    answer = told(begin(program, started)[0])
    if answer["status"] == "error":
        # Nothing could be done in it, so there is no flow.
        raise _misuse(str(answer["message"]), step_id=answer["step_id"])
    state = desk.begin(program, started, spec)
    with desk.alone(state.flow):
        return told_with_places(desk, settle(desk, state.flow))


def resume(desk: Desk, flow: FlowId) -> Answer:
    """Returns where a flow is; what was begun is finished first, unless a runner is at it."""
    state = desk.look(flow)
    if state.driver != "client" or (is_over(state) and not state.unsynced):
        return told(replace(state, setback=None))
    try:
        with desk.alone(flow):
            state = settle(desk, flow, again=True)
            reclaim(desk.context, state)
            return told_with_places(desk, state, afresh=True)
    except Refused as refused:
        if refused.kind != "flow_busy":
            raise
        return {**told(replace(state, setback=None)), "runner": "alive"}


def step_done(desk: Desk, flow: FlowId, step: StepId, result: Json, by: str, usage: Json = None) -> Answer:
    """Takes the result of the current step, and what it cost, as far as the client knows."""
    warnings: tuple[str, ...] = ()

    def decide(state: FlowState) -> list[Event]:
        nonlocal warnings
        spec = _current(state, step)
        value = _unwrapped(spec, result)
        best = state.book.best.get(step)
        if best is not None:
            value = best.result
        found: Judgement = judge_answer(state, spec, value, desk.files)
        warnings = found.warnings
        audit = _child_audit(desk, state, spec)
        cost = usage_of(usage) or _child_usage(desk, state, spec)
        return [Answered(now(), by, step, value, found.verdict, found.violations, audit, cost)]

    desk.intact(flow)
    with desk.alone(flow):
        before = settle(desk, flow)
        desk.act(flow, decide)
        dismiss(desk, before)
        answer = told_with_places(desk, settle(desk, flow))
    return {**answer, "warnings": list(warnings)} if warnings else answer


def parallel_done(
    desk: Desk, flow: FlowId, step: StepId, task_results: Sequence[Json], merge_status: str, by: str
) -> Answer:
    """Takes what became of some tasks of the current step."""
    desk.intact(flow)
    with desk.alone(flow):
        settle(desk, flow)
        gather(desk, flow, step, task_results, merge_status, by)
        return told_with_places(desk, settle(desk, flow))


def skip_step(desk: Desk, flow: FlowId, step: StepId, reason: str, by: str) -> Answer:
    """Leaves the current step out."""

    def decide(state: FlowState) -> list[Event]:
        spec = _at(state, step)
        if isinstance(spec.work, Gate):
            message = f"Step '{step}' is a gate step — use stratum_gate_resolve to resolve it"
            raise _misuse(message)
        return [SkipRequested(now(), by, step, reason)]

    with desk.alone(flow):
        before = settle(desk, flow)
        leave(desk, before, decide)
        dismiss(desk, before)
        return told_with_places(desk, settle(desk, flow))


def gate_resolve(
    desk: Desk, flow: FlowId, step: StepId, outcome: str, rationale: str, resolved_by: str
) -> Answer:
    """Takes a decision at the gate where the flow is."""
    asked_again = False

    def decide(state: FlowState) -> list[Event]:
        nonlocal asked_again
        _check_gate(state, step, outcome, resolved_by)
        asked_again = outcome == "revise" and is_last_round(state)
        return [_decision(step, outcome, rationale, resolved_by)]

    state = desk.act(flow, decide)
    if asked_again:
        limit = state.program.flow.max_rounds
        message = f"Maximum rounds ({limit}) exceeded"
        raise Refused("max_rounds_exceeded", message, round=state.book.round, flow_id=flow)
    if state.driver == "runner":
        return _heard(state)
    with desk.alone(flow):
        return told_with_places(desk, settle(desk, flow))


def check_timeouts(desk: Desk, flow: FlowId) -> Answer:
    """Kills the gate where the flow is when it has waited for too long; says how long it still may."""
    found: Answer = {}

    def decide(state: FlowState) -> list[Event]:
        nonlocal found
        found = _remaining(state)
        if found or state.cursor is None:
            return []
        return [_decision(state.cursor, "kill", "timeout", "system")]

    state = desk.act(flow, decide)
    if found:
        return {"status": "no_timeout", "flow_id": flow, **found}
    if state.driver == "runner":
        return {**_heard(state), "reason": "timeout"}
    with desk.alone(flow):
        return {**told_with_places(desk, settle(desk, flow)), "reason": "timeout"}


def audit(desk: Desk, flow: FlowId) -> Answer:
    """Returns the whole account of a flow."""
    return audit_of(desk.look(flow), now())


def spec_error(problem: Problem) -> Answer:
    """Returns a problem of a spec in the protocol's shape."""
    row: Answer = {"success": False, "error_type": KINDS[problem.kind], "message": problem.message}
    if problem.kind != "parse":
        row["path"] = problem.path or ("root" if problem.kind == "shape" else "")
    if problem.kind != "semantic" or problem.hint:
        row["suggestion"] = problem.hint
    return {**row, "line": problem.line}


def refused_spec(problems: Sequence[Problem]) -> Refused:
    """Returns the refusal of a spec: its first problem as the protocol has it, the others beside."""
    first, *more = map(spec_error, in_order(problems))
    kind, message = str(first.pop("error_type")), str(first.pop("message"))
    return Refused(kind, message, **first, errors=list(more))


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Returns problems with those first that keep others from being found: clients read the first one."""
    return sorted(problems, key=lambda problem: ("parse", "shape", "semantic").index(problem.kind))


def _program(spec: str, flow: str) -> Program:
    loaded = load_spec(spec)
    if loaded.spec is None:
        raise refused_spec(loaded.problems)
    program = compile_program(loaded.spec, flow)
    if not isinstance(program, Program):
        names = ", ".join(loaded.spec.flows) or "none"
        raise _misuse(f"Flow '{flow}' not found in spec (it has: {names})")
    wanting = unserved_by_client(program)
    if wanting:
        raise refused_spec(wanting)
    return program


def _with_defaults(program: Program, given: Mapping[str, Json]) -> dict[str, Json]:
    declared = program.flow.input.items()
    defaults = {name: row["default"] for name, row in declared if isinstance(row, dict) and "default" in row}
    return {**defaults, **given}


def _target(flow: FlowId, head: Head) -> RefName:
    """Returns the branch that results land on: the one that is checked out, or else one of the flow's own."""
    return head.branch or RefName(f"refs/heads/stratum/{flow}-landed")


def _misuse(message: str, **facts: Json) -> Refused:
    return Refused("execution_error", message, success=False, **facts)


def _at(state: FlowState, step: StepId) -> Step:
    """Returns the step where a client's flow is; refuses when that is not *step*, or there is none."""
    if state.driver != "client":
        raise _misuse(f"the flow {state.flow} is done by a runner's agents, not by the client")
    if state.status in {"failed", "cancelled"}:
        over = told(state)
        raise Refused(str(over.pop("error_type")), str(over.pop("message")), **_facts(over))
    if state.cursor is None:
        raise _misuse("Flow is already complete")
    if state.cursor != step:
        raise _misuse(f"Expected step '{state.cursor}', got '{step}'")
    return state.program.steps[step]


def _facts(answer: Answer) -> Answer:
    return {key: value for key, value in answer.items() if key != "status"}


def _current(state: FlowState, step: StepId) -> Step:
    at = None if state.cursor is None else state.program.steps[state.cursor]
    if at is not None and isinstance(at.work, Gate) and state.status == "awaiting_gate":
        message = f"Step '{at.id}' is a gate step. Use stratum_gate_resolve to resolve it."
        raise Refused("gate_step_requires_gate_resolve", message)
    spec = _at(state, step)
    if isinstance(spec.work, Dispatch):
        message = f"Step '{step}' is a {mode_of(spec)} step: report its tasks with stratum_parallel_done"
        raise Refused("wrong_step_type", message)
    return spec


def _unwrapped(step: Step, result: Json) -> Json:
    """Returns the output out of the answer with which a flow ended, where it is that of a flow's step."""
    if isinstance(step.work, SubFlow) and isinstance(result, dict) and {"status", "output"} <= result.keys():
        return result["output"]
    return result


def _child_audit(desk: Desk, state: FlowState, step: Step) -> Json:
    at = state.step(step.id)
    if not isinstance(at, Asked) or at.child is None:
        return None
    return audit_of(desk.look(at.child), now())


def _child_usage(desk: Desk, state: FlowState, step: Step) -> dict[str, Json]:
    """Returns what the flow has cost that did a step, if one did."""
    at = state.step(step.id)
    if not isinstance(at, Asked) or at.child is None:
        return {}
    spent = desk.look(at.child).spent.total
    told_: dict[str, Json] = {"usd": spent.usd, "tokens": spent.tokens, "ms": spent.ms}
    return {name: value for name, value in told_.items() if value}


def _check_gate(state: FlowState, step: StepId, outcome: str, resolved_by: str) -> None:
    if state.cursor is None or state.status in {"failed", "cancelled", "complete", "killed"}:
        raise Refused("flow_already_complete", "Flow is already complete")
    if not isinstance(state.step(state.cursor), AtGate):
        raise Refused("not_a_gate_step", f"Step '{state.cursor}' is not a gate step")
    if outcome not in OUTCOMES:
        raise Refused("invalid_outcome", f"outcome must be one of {list(OUTCOMES)}, got {outcome!r}")
    if resolved_by not in RESOLVERS:
        message = f"resolved_by must be one of {list(RESOLVERS)}, got {resolved_by!r}"
        raise Refused("invalid_resolved_by", message)
    if state.cursor != step:
        raise Refused("wrong_step", f"Expected gate step '{state.cursor}', got '{step}'")


def _decision(step: StepId, outcome: str, rationale: str, resolver: str) -> GateResolved:
    return GateResolved(
        now(),
        resolver,
        step,
        "approve" if outcome == "approve" else "revise" if outcome == "revise" else "kill",
        rationale,
        "agent" if resolver == "agent" else "system" if resolver == "system" else "human",
    )


def _remaining(state: FlowState) -> Answer:
    """Returns why the gate need not be killed now; nothing when it must."""
    if state.cursor is None or state.status in {"failed", "cancelled"}:
        return {"message": "Flow is already complete"}
    at, gate = state.step(state.cursor), state.program.steps[state.cursor].work
    if not isinstance(at, AtGate) or not isinstance(gate, Gate):
        return {"message": "Current step is not a gate step"}
    if gate.timeout is None:
        return {"message": "Gate has no timeout configured"}
    # Whatever somebody did to the clock, there is no longer to wait than at the beginning.
    left = min(gate.timeout, gate.timeout - (now() - at.since))
    return {"remaining_seconds": left} if left > 0 else {}


def _heard(state: FlowState) -> Answer:
    """Returns what is said of a runner's flow: somebody else goes on with it."""
    return {"status": state.status, "flow_id": state.flow, "step_id": state.cursor}
