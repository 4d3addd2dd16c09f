"""Whether a step fits into its flow and file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import assert_never

from stratum_git.core.references import inputs_named, steps_named
from stratum_git.core.shape_notes import Place
from stratum_git.core.template import unknown_names
from stratum_git.core.validate_terms import Terms, shortened
from stratum_git.model.ids import StepId
from stratum_git.model.spec import (
    Call,
    Decompose,
    Dispatch,
    Flow,
    Gate,
    Inline,
    Spec,
    Step,
    SubFlow,
)
from stratum_git.model.values import dataclass

STEP_REFERENCE = re.compile(r"\$\.steps\.(.+?)\.output(\..+)?", re.DOTALL)
INPUT_REFERENCE = re.compile(r"\$\.input\.[^.]+(\..+)?", re.DOTALL)
IN_EXPRESSION = re.compile(r"\$\.[A-Za-z0-9_.-]+")
REVISION = re.compile(r"[^-\s\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*")
BRANCH = re.compile(r"[^-\s~^:?*\[\\\x00-\x1f\x7f][^\s~^:?*\[\\\x00-\x1f\x7f]*")
CHECKS = ("ensure", "guardrails", "output_schema", "output_contract", "reasoning_template", "function")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a step is checked against. ``position`` is that in the order of running, without circles."""

    spec: Spec
    flow: Flow
    terms: Terms
    steps: Mapping[StepId, Step]
    needs: Mapping[StepId, tuple[StepId, ...]]
    position: Mapping[StepId, int]

    @property
    def is_lenient(self) -> bool:
        """Returns whether the version is one in which names of inputs and contracts were not checked."""
        return self.spec.version != "0.4"


def check_step(scope: Scope, place: Place, step: Step) -> None:
    """Notes everything about a step that does not fit."""
    for index, name in enumerate(step.depends_on):
        _step_exists(scope, (*place, "depends_on", index), step, name)
    for key, reference in step.inputs.items():
        if reference.startswith("$"):
            _reference(scope, (*place, "inputs", key), step, reference)
    if step.output_contract is not None:
        contracts = scope.spec.contracts
        mildly = scope.is_lenient
        scope.terms.known(
            (*place, "output_contract"), "contract", step.output_contract, contracts, mildly=mildly
        )
    scope.terms.expressions((*place, "ensure"), step.ensure)
    scope.terms.patterns((*place, "guardrails"), step.guardrails)
    _routes(scope, place, step)
    _loop(scope, place, step)
    if step.skip_if is not None:
        _skip(scope, (*place, "skip_if"), step, step.skip_if)
    _work(scope, place, step)


def _routes(scope: Scope, place: Place, step: Step) -> None:
    for key, target in (("on_fail", step.on_fail), ("next", step.next)):
        if target is not None:
            _step_exists(scope, (*place, key), step, target)
    unclear = any(scope.terms.notes.is_broken((*place, key)) for key in CHECKS)
    if step.on_fail is not None and not unclear and not _can_fail(scope.spec, step):
        hint = "add ensure, guardrails, an output_schema or an output_contract, or drop on_fail"
        message = f"nothing of {shortened(step.id)} is checked, so on_fail is never taken"
        scope.terms.notes.semantic((*place, "on_fail"), message, hint)


def _can_fail(spec: Spec, step: Step) -> bool:
    own = step.ensure or step.guardrails or step.output_contract or step.output_schema is not None
    certified = step.reasoning_template is not None and step.agent in {None, "claude"}
    match step.work:
        case Decompose() | Dispatch():
            return True
        case Call(name):
            function = spec.functions.get(name)
            called = function is None or bool(function.ensure or function.guardrails)
            return bool(own) or certified or called
        case Inline() | SubFlow() | Gate():
            return bool(own) or certified
        case _:
            assert_never(step.work)


def _loop(scope: Scope, place: Place, step: Step) -> None:
    for key, source in (("exit_criterion", step.exit_criterion), ("score_expr", step.score_expr)):
        if source is None:
            continue
        scope.terms.expression((*place, key), source)
        if step.max_iterations is None and not scope.terms.notes.is_broken((*place, "max_iterations")):
            scope.terms.notes.semantic((*place, key), f"{key} needs max_iterations", "add `max_iterations:`")


def _skip(scope: Scope, place: Place, step: Step, source: str) -> None:
    for name in map(StepId, steps_named(source)):
        if _step_exists(scope, place, step, name):
            _runs_before(scope, place, step, name)
    _inputs_exist(scope, place, source)
    scope.terms.expression(place, IN_EXPRESSION.sub("null", source))


def _runs_before(scope: Scope, place: Place, step: Step, name: StepId) -> None:
    """Notes a skip_if that looks at a later step, whose output is never there.

    Unless that step has an on_fail: failing back to here, it keeps what it failed with.
    """
    here, there = scope.position.get(step.id), scope.position.get(name)
    if here is None or there is None or there < here or scope.steps[name].on_fail is not None:
        return
    message = f"{name} runs after {step.id}, so its output is not there yet"
    scope.terms.notes.semantic(place, message, f"name a step that runs before, or add depends_on: [{name}]")


def _work(scope: Scope, place: Place, step: Step) -> None:
    match step.work:
        case Call(name):
            scope.terms.known((*place, "function"), "function", name, scope.spec.functions)
        case Gate():
            _gate(scope, place, step, step.work)
        case SubFlow(name):
            scope.terms.known((*place, "flow"), "flow", name, scope.spec.flows)
        case Dispatch():
            _dispatch(scope, place, step, step.work)
        case Inline() | Decompose():
            pass
        case _:
            assert_never(step.work)


def _gate(scope: Scope, place: Place, step: Step, gate: Gate) -> None:
    scope.terms.known((*place, "function"), "function", gate.function, scope.spec.functions)
    for key, target in (("on_approve", gate.on_approve), ("on_kill", gate.on_kill)):
        if target is not None:
            _step_exists(scope, (*place, key), step, target)
    back = gate.on_revise
    if back is None or not _step_exists(scope, (*place, "on_revise"), step, back):
        return
    here, there = scope.position.get(step.id), scope.position.get(back)
    if here is not None and there is not None and there > here:
        message = f"on_revise goes back, and {back} does not run before {step.id}"
        scope.terms.notes.semantic((*place, "on_revise"), message, f"add depends_on: [{back}]")


def _dispatch(scope: Scope, place: Place, step: Step, work: Dispatch) -> None:
    if work.source:
        _reference(scope, (*place, "source"), step, work.source)
    if work.task_contract is not None:
        contracts = scope.spec.contracts
        scope.terms.known((*place, "task_contract"), "contract", work.task_contract, contracts)
    scope.terms.expressions((*place, "task_ensure"), work.task_ensure)
    if work.resolver is not None and work.on_conflict != "agent":
        hint = "write on_conflict: agent, or leave resolver out"
        scope.terms.notes.semantic((*place, "resolver"), "nobody resolves conflicts here", hint)
    for name in unknown_names(work.commit_message or ""):
        message = f"commit_message names {shortened(name)}, which is nothing that it could name"
        hint = "write {task.FIELD}, {input.NAME}, {flow}, {step} or {attempt}"
        scope.terms.notes.semantic((*place, "commit_message"), message, hint)
    if work.candidates and work.isolation == "none":
        message = "candidates need places of their own, and isolation is none"
        scope.terms.notes.semantic((*place, "candidates"), message, "write isolation: worktree")
    if work.base is not None and not REVISION.fullmatch(work.base):
        message = f"{shortened(work.base)!r} does not name a commit"
        scope.terms.notes.semantic((*place, "base"), message, "write a branch, tag or object id")
    if work.target is not None and not _is_branch(work.target):
        message = f"{shortened(work.target)!r} cannot be the name of a branch"
        scope.terms.notes.semantic((*place, "target"), message, "write the name of a branch, such as main")


def _is_branch(name: str) -> bool:
    """Returns whether git takes *name* for a branch (git-check-ref-format, with the rules for --branch)."""
    parts = name.split("/")
    bad = any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    known = ".." in name or "@{" in name or name.endswith(".") or name == "@"
    return BRANCH.fullmatch(name) is not None and not bad and not known


def _reference(scope: Scope, place: Place, step: Step, reference: str) -> None:
    """Notes a reference that cannot be read or names nothing; what it names runs before (order.py)."""
    found = STEP_REFERENCE.fullmatch(reference)
    if found is not None:
        _step_exists(scope, place, step, StepId(found[1]))
    elif INPUT_REFERENCE.fullmatch(reference):
        _inputs_exist(scope, place, reference)
    else:
        message = f"{shortened(reference)!r} is not a reference"
        scope.terms.notes.semantic(place, message, _meant(scope, reference))


def _meant(scope: Scope, reference: str) -> str:
    parts = reference.split(".")
    if parts[:2] == ["$", "steps"] and len(parts) > 2 and parts[2] in scope.steps:
        return f"write {'.'.join([*parts[:3], 'output', *parts[3:]])}"
    return "write $.steps.ID.output or $.input.NAME"


def _inputs_exist(scope: Scope, place: Place, text: str) -> None:
    """Notes inputs that the flow does not declare; a flow that declares none takes any."""
    declared = scope.flow.input
    for name in inputs_named(text):
        if declared:
            scope.terms.known(place, "input", name, declared, mildly=scope.is_lenient)


def _step_exists(scope: Scope, place: Place, step: Step, name: StepId) -> bool:
    if name == step.id:
        scope.terms.notes.semantic(place, f"{shortened(name)} refers to itself", "name another step")
        return False
    return scope.terms.known(place, "step", name, scope.steps)
