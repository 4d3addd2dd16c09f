"""Whether a client's result is accepted: schema, guardrails, certificate, graph, postconditions.

They are asked in this order, and the first that finds something decides; the words are the protocol's.
"""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.core.certificate import is_certified, missing
from stratum_git.core.contracts import breaches
from stratum_git.core.expr import Files, judge
from stratum_git.core.program import function_of
from stratum_git.core.references import Unresolved, resolve, steps_named
from stratum_git.core.source import sentence
from stratum_git.core.taskgraph import read_graph
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, StepId
from stratum_git.model.messages import Verdict
from stratum_git.model.spec import Call, Contract, Decompose, Dispatch, Step
from stratum_git.model.state import FlowState
from stratum_git.model.values import dataclass

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a result, and why. ``warnings`` do not stop it."""

    verdict: Verdict = "ok"
    violations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judge_answer(state: FlowState, step: Step, result: Json, files: Files | None) -> Judgement:
    """Returns what is to be made of *result*; *files* are what postconditions may ask about.

    Before version 0.4 a contract was only a hint, and specs that break theirs are about: there it warns.
    """
    broken = _contract_breaches(state, step, result)
    strict = state.program.spec.version == "0.4"
    warnings = () if strict else broken
    found = _schema(step, result)
    if found or (strict and broken):
        return Judgement("schema_failed", (*found, *(broken if strict else ())))
    found = _guardrails(state, step, result)
    if found:
        return Judgement("guardrail_blocked", found, warnings)
    if is_certified(step) and step.reasoning_template is not None:
        found = missing(step.reasoning_template, result)
    found = found or graph_flaws(state, step, result)
    found = found or judge(ensures_of(state, step), _names(state, result), files)
    return Judgement("ensure_failed" if found else "ok", found, warnings)


def graph_flaws(state: FlowState, step: Step, result: Json) -> tuple[str, ...]:
    """Returns what is wrong with the task graphs that later steps will look for in a plan."""
    if not isinstance(step.work, Decompose):
        return ()
    works = (other.work for other in state.program.flow.steps)
    sources = (w.source for w in works if isinstance(w, Dispatch) and step.id in steps_named(w.source))
    return tuple(dict.fromkeys(flaw for source in sources for flaw in _flaws(step.id, source, result)))


def contract_of(state: FlowState, step: Step) -> tuple[str | None, Contract]:
    """Returns the contract that a step's output has to keep: its name, and its fields."""
    function = function_of(state.program, step)
    name = function.output if function is not None else step.output_contract
    return name, state.program.spec.contracts.get(name or "", {})


def ensures_of(state: FlowState, step: Step) -> tuple[str, ...]:
    """Returns the postconditions of a step, its function's included."""
    function = function_of(state.program, step)
    return (*(function.ensure if function is not None else ()), *step.ensure)


def _names(state: FlowState, result: Json) -> Mapping[str, Json]:
    return {"result": result, "input": dict(state.inputs)}


def schema_flaw(schema: Mapping[str, Json]) -> str | None:
    """Returns why nobody could be held to *schema*, or ``None``."""
    from stratum_git.core.schema import schema_problem

    return schema_problem(schema)


def _schema(step: Step, result: Json) -> tuple[str, ...]:
    if step.output_schema is None or not isinstance(step.work, Call):
        return ()
    # Loading it takes longer than a call, and few specs have a schema.
    from stratum_git.core.schema import schema_breaches

    return tuple(f"output_schema violation: {line}" for line in schema_breaches(step.output_schema, result))


def _guardrails(state: FlowState, step: Step, result: Json) -> tuple[str, ...]:
    function = function_of(state.program, step)
    patterns = (*(function.guardrails if function is not None else ()), *step.guardrails)
    if not patterns:
        return ()
    from stratum_git.core.guardrails import hits

    return hits(patterns, result)


def _contract_breaches(state: FlowState, step: Step, result: Json) -> tuple[str, ...]:
    name, fields = contract_of(state, step)
    return tuple(f"contract {name}: {line}" for line in breaches(fields, result)) if fields else ()


def _flaws(step: StepId, source: str, output: Json) -> tuple[str, ...]:
    found = resolve(source, {}, {step: output})
    if isinstance(found, Unresolved):
        return (found.reason,)
    graph = read_graph(found.value)
    if isinstance(graph, TaskGraph):
        return ()
    return tuple(sentence(p.path, p.message, p.hint) for p in graph[:SHOWN])
