"""Whether the parts of a spec fit together: every name stands for something, every order can be kept."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from stratum_git.core.expr import refusal
from stratum_git.core.order import Cycle, fifo_order
from stratum_git.core.references import inputs_named, steps_named
from stratum_git.model.ids import StepId
from stratum_git.model.spec import (
    Call,
    Decompose,
    Dispatch,
    Flow,
    Gate,
    Inline,
    Problem,
    Spec,
    Step,
    SubFlow,
)

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
WORKFLOW_NAME = re.compile(r"[a-z][a-z0-9-]*")


def semantic_problems(spec: Spec) -> list[Problem]:
    """Returns everything in *spec* that does not fit, flow by flow."""
    found = list(_functions(spec))
    for flow in spec.flows.values():
        found += _FlowCheck(spec, flow, {step.id: step for step in flow.steps}).problems()
    found += _recursion(spec)
    found += _workflow(spec)
    return found


def _functions(spec: Spec) -> Iterator[Problem]:
    for function in spec.functions.values():
        where = f"functions.{function.name}"
        if function.mode != "gate":
            if not function.output:
                yield Problem(f"{where}.output", f"function {function.name} names no output contract", 0)
            else:
                yield from _known(f"{where}.output", "contract", function.output, spec.contracts, 0)
        yield from _expressions(f"{where}.ensure", function.ensure, 0)
        yield from _patterns(f"{where}.guardrails", function.guardrails, 0)


@dataclass(frozen=True, slots=True)
class _FlowCheck:
    """The checks of one flow."""

    spec: Spec
    flow: Flow
    steps: dict[StepId, Step]

    def problems(self) -> Iterator[Problem]:
        where = f"flows.{self.flow.name}"
        if not _is_name(self.flow.name):
            yield Problem(where, f"the flow's name {self.flow.name!r} {_NAME_RULE}", self.flow.line)
        if self.flow.output:
            yield from _known(
                f"{where}.output", "contract", self.flow.output, self.spec.contracts, self.flow.line
            )
        yield from self._ids(where)
        for step in self.flow.steps:
            yield from self._step(f"{where}.steps.{step.id}", step)
        yield from self._order(where)

    def _ids(self, where: str) -> Iterator[Problem]:
        seen: dict[str, Step] = {}
        for step in self.flow.steps:
            path = f"{where}.steps.{step.id}.id"
            if step.id and not _is_name(step.id):
                hint = f"for example {re.sub(r'[^A-Za-z0-9_-]+', '-', step.id).strip('.-') or 'step'}"
                yield Problem(path, f"the step id {step.id!r} {_NAME_RULE}", step.line, hint)
            before = seen.setdefault(step.id.lower(), step)
            if before is not step:
                how = "is used twice" if before.id == step.id else f"differs from {before.id} only in case"
                message = f"the step id {step.id} {how} (lines {before.line} and {step.line})"
                yield Problem(path, message, step.line)

    def _step(self, where: str, step: Step) -> Iterator[Problem]:
        for name in step.depends_on:
            yield from self._step_exists(f"{where}.depends_on", name, step)
        for key, reference in step.inputs.items():
            yield from self._reference(f"{where}.inputs.{key}", reference, step)
        for key, target in (("on_fail", step.on_fail), ("next", step.next)):
            if target is not None:
                yield from self._step_exists(f"{where}.{key}", target, step)
        if step.on_fail is not None and not self._can_fail(step):
            message = "on_fail needs something that can fail: ensure, guardrails or an output_schema"
            yield Problem(f"{where}.on_fail", message, step.line)
        if step.output_contract is not None:
            yield from _known(
                f"{where}.output_contract", "contract", step.output_contract, self.spec.contracts, step.line
            )
        yield from self._conditions(where, step)
        yield from self._work(where, step)

    def _conditions(self, where: str, step: Step) -> Iterator[Problem]:
        yield from _expressions(f"{where}.ensure", step.ensure, step.line)
        yield from _patterns(f"{where}.guardrails", step.guardrails, step.line)
        for key in ("exit_criterion", "score_expr"):
            source = getattr(step, key)
            if source is not None:
                yield from _expressions(f"{where}.{key}", (source,), step.line)
                if step.max_iterations is None:
                    yield Problem(f"{where}.{key}", f"{key} needs max_iterations", step.line)
        if step.skip_if is not None:
            for name in steps_named(step.skip_if):
                yield from self._step_exists(f"{where}.skip_if", StepId(name), step)
            plain = re.sub(r"\$\.[A-Za-z0-9_.-]+", "null", step.skip_if)
            yield from _expressions(f"{where}.skip_if", (plain,), step.line)

    def _work(self, where: str, step: Step) -> Iterator[Problem]:
        match step.work:
            case Call(function):
                yield from _known(f"{where}.function", "function", function, self.spec.functions, step.line)
                called = self.spec.functions.get(function)
                if called is not None and called.mode == "gate":
                    hint = "add on_approve, on_revise and on_kill"
                    yield Problem(
                        f"{where}.function", f"{function} is a gate: say what follows", step.line, hint
                    )
            case Gate():
                yield from self._gate(where, step, step.work)
            case SubFlow(name):
                yield from _known(f"{where}.flow", "flow", name, self.spec.flows, step.line)
            case Dispatch():
                yield from self._dispatch(where, step, step.work)
            case Inline() | Decompose():
                pass

    def _gate(self, where: str, step: Step, gate: Gate) -> Iterator[Problem]:
        yield from _known(f"{where}.function", "function", gate.function, self.spec.functions, step.line)
        called = self.spec.functions.get(gate.function)
        if called is not None and called.mode != "gate":
            message = f"{gate.function} is no gate, so on_approve, on_revise and on_kill mean nothing"
            yield Problem(where, message, step.line, "give the function `mode: gate`")
        for key in ("on_approve", "on_revise", "on_kill"):
            target = getattr(gate, key)
            if target is not None:
                yield from self._step_exists(f"{where}.{key}", target, step)
        if gate.on_revise is None:
            yield Problem(f"{where}.on_revise", "a gate says which step on_revise goes back to", step.line)
        elif gate.on_revise in self.steps and not self._is_earlier(gate.on_revise, step):
            message = f"on_revise goes back, and {gate.on_revise} does not run before {step.id}"
            yield Problem(f"{where}.on_revise", message, step.line)

    def _dispatch(self, where: str, step: Step, work: Dispatch) -> Iterator[Problem]:
        if work.source and not work.source.startswith("$."):
            hint = "for example $.steps.plan.output.tasks"
            yield Problem(f"{where}.source", "source is not a reference", step.line, hint)
        yield from self._reference(f"{where}.source", work.source, step)
        if work.task_contract is not None:
            yield from _known(
                f"{where}.task_contract", "contract", work.task_contract, self.spec.contracts, step.line
            )
        yield from _expressions(f"{where}.task_ensure", work.task_ensure, step.line)

    def _reference(self, where: str, reference: str, step: Step) -> Iterator[Problem]:
        for name in steps_named(reference):
            yield from self._step_exists(where, StepId(name), step)
        if not self.flow.input:
            return
        for name in inputs_named(reference):
            yield from _known(where, "input", name, self.flow.input, step.line)

    def _step_exists(self, where: str, name: StepId, step: Step) -> Iterator[Problem]:
        if name == step.id:
            yield Problem(where, f"{step.id} refers to itself", step.line)
        else:
            yield from _known(where, "step", name, self.steps, step.line)

    def _can_fail(self, step: Step) -> bool:
        function = self.spec.functions.get(step.work.function) if isinstance(step.work, Call) else None
        own = step.ensure or step.guardrails or step.output_schema or step.reasoning_template
        return bool(own) or (function is not None and bool(function.ensure or function.guardrails))

    def _is_earlier(self, target: StepId, step: Step) -> bool:
        order = fifo_order(self.flow.steps)
        return isinstance(order, Cycle) or order.index(target) < order.index(step.id)

    def _order(self, where: str) -> Iterator[Problem]:
        if len(self.steps) < len(self.flow.steps):
            return
        order = fifo_order(self.flow.steps)
        if isinstance(order, Cycle):
            line = self.steps[order.path[0]].line
            message = f"steps wait for each other: {' -> '.join(order.path)}"
            yield Problem(f"{where}.steps", message, line, "drop one of these dependencies")


_NAME_RULE = "is not one that can be used: letters A-Z, digits, dot, dash and underscore"


def _is_name(text: str) -> bool:
    return bool(NAME.fullmatch(text)) and ".." not in text and not text.endswith((".lock", "."))


def _known(where: str, kind: str, name: str, known: Iterable[str], line: int) -> Iterator[Problem]:
    names = list(known)
    if name not in names:
        close = get_close_matches(name, names, 1)
        listing = ", ".join(names[:10]) or "none"
        hint = f"did you mean {close[0]}?" if close else f"there is: {listing}"
        yield Problem(where, f"there is no {kind} called {name}", line, hint)


def _expressions(where: str, sources: Iterable[str], line: int) -> Iterator[Problem]:
    for source in sources:
        reason = refusal(source)
        if reason is not None:
            yield Problem(where, f"`{source[:80]}` is refused: {reason}", line)


def _patterns(where: str, patterns: Iterable[str], line: int) -> Iterator[Problem]:
    for pattern in patterns:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(pattern, re.IGNORECASE | re.MULTILINE)
        except (re.error, RecursionError, OverflowError) as error:
            yield Problem(where, f"`{pattern[:80]}` is not a regular expression: {error}", line)


def _recursion(spec: Spec) -> Iterator[Problem]:
    """Reports flows that reach themselves; one flow used twice does not."""
    below = {
        name: [s.work.flow for s in f.steps if isinstance(s.work, SubFlow)] for name, f in spec.flows.items()
    }
    for name, flow in spec.flows.items():
        todo, seen = list(below[name]), set()
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += below.get(at, [])
        if name in seen:
            yield Problem(f"flows.{name}", f"the flow {name} runs itself", flow.line)


def _workflow(spec: Spec) -> Iterator[Problem]:
    workflow = spec.workflow
    if workflow is None:
        return
    if workflow.name and not WORKFLOW_NAME.fullmatch(workflow.name):
        yield Problem(
            "workflow.name", f"the name {workflow.name!r} is not lower-case letters, digits and dashes"
        )
    entry = spec.flows.get(workflow.name)
    if entry is None and len(spec.flows) == 1:
        entry = next(iter(spec.flows.values()))
    if entry is None:
        yield Problem(
            "workflow.name", f"there is no flow called {workflow.name}, and not exactly one to take"
        )
    elif set(workflow.input) != set(entry.input):
        yield Problem("workflow.input", f"the inputs are not those of the flow {entry.name}")
