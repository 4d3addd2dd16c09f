"""What a client is told: the next step, the end, what was wrong. The words and keys are the protocol's.

Everything here follows from the state of the flow, so that it can be asked again (``stratum_resume``) and
reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from stratum_git.core import budgets
from stratum_git.core.certificate import is_certified, with_sections
from stratum_git.core.program import function_of, tries_of
from stratum_git.core.questions import outputs
from stratum_git.core.records import mode_of
from stratum_git.core.references import Unresolved, resolve
from stratum_git.core.source import graph_of
from stratum_git.core.verdicts import contract_of, ensures_of
from stratum_git.model.book import GateRecord, PolicyRecord, Record, SkipRecord, StepRecord
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json
from stratum_git.model.spec import Decompose, Dispatch, Gate, Inline, Step
from stratum_git.model.state import Asked, Failed, FannedOut, FlowState, Landing, StepState

Answer: TypeAlias = dict[str, Json]


def error(kind: str, message: str, **facts: Json) -> Answer:
    """Returns a refusal in the protocol's shape."""
    thrown: Answer = {"success": False} if kind == "execution_error" else {}
    return {"status": "error", **thrown, "error_type": kind, "message": message, **facts}


def told(state: FlowState) -> Answer:
    """Returns what the client is told now: what to do next, with what was wrong with its last report."""
    if state.cursor is None or state.status in {"failed", "cancelled"}:
        return _over(state)
    answer = next_step(state)
    setback = state.setback
    if setback is None or "error_type" in answer:
        return answer
    if setback.last:
        return {**answer, "routed_from": setback.step, "violations": list(setback.violations)}
    return {**answer, "status": setback.status, "violations": list(setback.violations)}


def next_step(state: FlowState) -> Answer:
    """Returns what to do at the step where the flow is, whatever was before."""
    if state.cursor is None:
        return _over(state)
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    if isinstance(now, Landing) and now.blocked:
        why = "; ".join(now.blocked)
        hint = "clear that, then call stratum_resume: the results are kept"
        message = f"{step.id} could not be landed: {why}"
        return error("landing_blocked", message, flow_id=state.flow, hint=hint)
    match step.work:
        case Gate():
            return _gate(state, step, step.work)
        case Dispatch():
            return _dispatch(state, step, step.work, now)
        case _:
            return _execute(state, step, now)


def trace(records: Sequence[Record]) -> list[Json]:
    """Returns the audit as the protocol has it."""
    return [record_json(record) for record in records]


def record_json(record: Record) -> Answer:
    """Returns one entry of the audit."""
    end: Answer = {"round": record.round, "round_start_step_id": record.start}
    match record:
        case StepRecord():
            return {
                "step_id": record.step,
                "function_name": record.function,
                "attempts": record.attempts,
                "duration_ms": record.ms,
                "type": "step",
                **end,
                "agent": record.agent,
                "step_mode": record.mode,
                "child_flow_id": record.child,
            }
        case GateRecord():
            return {
                "step_id": record.step,
                "outcome": record.outcome,
                "rationale": record.rationale,
                "resolved_by": record.resolver,
                "duration_ms": record.ms,
                "type": "gate",
                **end,
            }
        case SkipRecord():
            return {"step_id": record.step, "skip_reason": record.reason, "type": "skip", **end}
        case PolicyRecord():
            return {
                "step_id": record.step,
                "effective_policy": record.policy,
                "resolved_outcome": "approve",
                "rationale": record.rationale,
                "type": "policy",
                **end,
            }


def ended(state: FlowState) -> Answer:
    """Returns what is said of a flow that has come to its end."""
    made = [output[0] for output in state.outputs if output and output[0] is not None]
    return {
        "status": "killed" if state.book.killed else "complete",
        "flow_id": state.flow,
        "output": made[-1] if made else None,
        "trace": trace(tuple(state.book.records)),
        "total_duration_ms": duration(state, state.updated),
    }


def duration(state: FlowState, at: float) -> int:
    """Returns the milliseconds from the flow's start to *at*."""
    return max(0, int((at - state.started) * 1000))


def _over(state: FlowState) -> Answer:
    if state.status == "cancelled":
        return error("cancelled", f"The flow was cancelled: {state.cancelling}", flow_id=state.flow)
    if state.status != "failed" or state.cursor is None:
        return ended(state)
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    broke = budgets.broke(state)
    return error(
        "retries_exhausted" if broke is None else "budget_exhausted",
        f"Step '{step.id}' exhausted all retries" if broke is None else broke,
        flow_id=state.flow,
        step_id=step.id,
        step_mode=mode_of(step),
        agent=step.agent,
        violations=list(now.findings) if isinstance(now, Failed) else [],
    )


def _place(state: FlowState, step: Step, status: str) -> Answer:
    return {
        "status": status,
        "flow_id": state.flow,
        "step_number": state.program.position[step.id] + 1,
        "total_steps": len(state.program.order),
        "step_id": step.id,
        "step_mode": mode_of(step),
    }


def _gate(state: FlowState, step: Step, gate: Gate) -> Answer:
    return {
        **_place(state, step, "await_gate"),
        "function": gate.function,
        "agent": step.agent,
        "on_approve": gate.on_approve,
        "on_revise": gate.on_revise,
        "on_kill": gate.on_kill,
        "timeout": gate.timeout,
    }


def _execute(state: FlowState, step: Step, now: StepState) -> Answer:
    given = resolved_inputs(state, step)
    if isinstance(given, Unresolved):
        return error("execution_error", given.reason, flow_id=state.flow, step_id=step.id)
    if mode_of(step) == "flow":
        return _flow(state, step, now)
    function = function_of(state.program, step)
    name, fields = contract_of(state, step)
    intent = step.work.intent if isinstance(step.work, Inline | Decompose) else ""
    if is_certified(step) and step.reasoning_template is not None:
        intent = with_sections(intent, step.reasoning_template)
    return {
        **_place(state, step, "execute_step"),
        **({} if function is None else {"function": function.name, "mode": function.mode}),
        "intent": intent if function is None else function.intent,
        "agent": step.agent,
        "inputs": given,
        "output_contract": name,
        "output_fields": {name: field.type for name, field in fields.items()},
        "ensure": list(ensures_of(state, step)),
        "retries_remaining": tries_of(state.program, step) - _tries(now),
        **({"model": step.model} if isinstance(step.work, Inline) else {}),
    }


def _flow(state: FlowState, step: Step, now: StepState) -> Answer:
    child = now.child if isinstance(now, Asked) else None
    return {
        "status": "execute_flow",
        "parent_flow_id": state.flow,
        "parent_step_id": step.id,
        "child_flow_id": child,
        "child_flow_name": getattr(step.work, "flow", None),
        "child_step": None,
        "step_number": state.program.position[step.id] + 1,
        "total_steps": len(state.program.order),
    }


def _dispatch(state: FlowState, step: Step, work: Dispatch, now: StepState) -> Answer:
    source = resolve(work.source, state.inputs, outputs(state))
    if isinstance(source, Unresolved):
        return error("execution_error", source.reason, flow_id=state.flow, step_id=step.id)
    graph = graph_of(state, work)
    if not isinstance(graph, TaskGraph):
        why = "; ".join(graph[:10])
        message = f"the task graph cannot be run: {why}"
        return error("execution_error", message, flow_id=state.flow, step_id=step.id)
    return {
        **_place(state, step, "parallel_dispatch"),
        "tasks": source.value,
        "agent": step.agent,
        "max_concurrent": work.max_concurrent,
        "isolation": work.isolation,
        "require": work.require,
        "merge": work.merge,
        "intent_template": work.intent_template,
        "ensure": list(step.ensure),
        "retries_remaining": step.retries - _tries(now),
    }


def resolved_inputs(state: FlowState, step: Step) -> Answer | Unresolved:
    """Returns what a step is given, or the first of its references that stands for nothing."""
    found: Answer = {}
    known = outputs(state) if step.inputs else {}
    for name, reference in step.inputs.items():
        value = resolve(reference, state.inputs, known)
        if isinstance(value, Unresolved):
            return value
        found[name] = value.value
    return found


def _tries(now: StepState) -> int:
    return now.tries if isinstance(now, Asked | FannedOut) else 0
