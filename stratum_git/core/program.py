"""Turns a spec and the name of a flow into what the engine executes, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.core.heavy import close_matches
from stratum_git.core.order import Cycle, fifo_order
from stratum_git.model.spec import (
    Call,
    Decompose,
    Dispatch,
    Flow,
    Function,
    Gate,
    Inline,
    Problem,
    Spec,
    Step,
    SubFlow,
)
from stratum_git.model.state import Program

ELSEWHERE = "have agents do the flow: stratum_execute, or `stratum-git run`"


def compile_program(spec: Spec, name: str | None) -> Program | tuple[Problem, ...]:
    """Returns the program of the flow called *name*; with ``None``, of the workflow's or the only flow."""
    flow = _pick(spec, name)
    if isinstance(flow, Problem):
        return (flow,)
    order = fifo_order(flow.steps)
    if isinstance(order, Cycle):
        path = " -> ".join(order.path)
        return (Problem(f"flows.{flow.name}.steps", f"steps wait for each other: {path}", flow.line),)
    position = {step: i for i, step in enumerate(order)}
    return Program(spec, flow, order, position, {step.id: step for step in flow.steps})


def unserved(program: Program) -> tuple[Problem, ...]:
    """Returns what the flow asks for that a runner does not do. Nothing is ignored in silence."""
    return tuple(p for step in program.flow.steps for p in _unserved(program.flow, step))


def function_of(program: Program, step: Step) -> Function | None:
    """Returns the function that a step calls or is gated by, if any."""
    match step.work:
        case Call(function):
            return program.spec.functions[function]
        case Gate():
            return program.spec.functions[step.work.function]
        case Inline() | SubFlow() | Decompose() | Dispatch():
            return None


def tries_of(program: Program, step: Step) -> int:
    """Returns how often the step may be tried in all."""
    function = function_of(program, step)
    return function.retries if function is not None else step.retries


def _pick(spec: Spec, name: str | None) -> Flow | Problem:
    if name is None:
        names = list(spec.flows)
        wanted = spec.workflow.name if spec.workflow and spec.workflow.name in spec.flows else None
        if wanted is None and len(names) != 1:
            listing = ", ".join(names) or "none"
            return Problem("flows", f"the flow to run is not clear: the file has {listing}", hint="name one")
        return spec.flows[wanted or names[0]]
    if name not in spec.flows:
        close = close_matches(name, spec.flows, 1) or list(spec.flows)[:1]
        hint = f"did you mean {close[0]}?" if close else "the file has no flows"
        return Problem("flows", f"the file has no flow called {name}", hint=hint)
    return spec.flows[name]


def _unserved(flow: Flow, step: Step) -> list[Problem]:
    wants: dict[str, object] = {"max_iterations": step.max_iterations}
    if isinstance(step.work, SubFlow):
        wants["flow"] = step.work.flow
    hint = "leave it out, or let an MCP client drive the flow: stratum_plan"
    return _problems(flow, step, wants, "`run` does not do it yet", hint)


def unserved_by_client(program: Program) -> tuple[Problem, ...]:
    """Returns what a flow, or one that it runs, asks of a landing that is not done for a client either."""
    found: list[Problem] = []
    seen: set[str] = set()
    todo = [program.flow]
    while todo:
        flow = todo.pop()
        seen.add(flow.name)
        for step in flow.steps:
            if isinstance(step.work, Dispatch):
                wants = {"on_conflict": "agent" if step.work.on_conflict == "agent" else None}
                found += _problems(flow, step, wants, "a client has no agents that resolve", ELSEWHERE)
            elif isinstance(step.work, SubFlow) and step.work.flow not in seen:
                todo.append(program.spec.flows[step.work.flow])
    return tuple(found)


def _problems(flow: Flow, step: Step, wants: Mapping[str, object], why: str, hint: str) -> list[Problem]:
    place = f"flows.{flow.name}.steps.{step.id}"
    return [
        Problem(f"{place}.{key}", f"{key} is valid, but {why}", step.line, hint=hint)
        for key, value in wants.items()
        if value
    ]
