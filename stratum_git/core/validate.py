"""Whether the parts of a spec fit together: every name stands for something, every order can be kept."""

from __future__ import annotations

import re

from stratum_git.core.shape_notes import Notes, Place
from stratum_git.core.topology import circles
from stratum_git.core.validate_flow import check_flow
from stratum_git.core.validate_terms import Terms
from stratum_git.model.ids import Json
from stratum_git.model.spec import Flow, Function, Spec, SubFlow, Workflow, WorkflowInput

WORKFLOW_NAME = re.compile(r"[a-z][a-z0-9-]*")


def check_spec(spec: Spec, notes: Notes) -> None:
    """Notes everything in *spec* that does not fit. What was noted as broken is not spoken of again."""
    terms = Terms(notes)
    for function in spec.functions.values():
        _function(spec, terms, function)
    for flow in spec.flows.values():
        check_flow(spec, flow, terms)
    _recursion(spec, notes)
    if spec.workflow is not None:
        _workflow(spec, terms, spec.workflow)


def _function(spec: Spec, terms: Terms, function: Function) -> None:
    place: Place = ("functions", function.name)
    terms.expressions((*place, "ensure"), function.ensure)
    terms.patterns((*place, "guardrails"), function.guardrails)
    if function.mode == "gate" or terms.notes.is_broken((*place, "mode")):
        return
    if function.output:
        terms.known((*place, "output"), "contract", function.output, spec.contracts)
    else:
        hint = "add `output:` with the name of a contract"
        terms.notes.semantic((*place, "output"), f"the function {function.name} names no output", hint)


def _recursion(spec: Spec, notes: Notes) -> None:
    """Notes flows that reach themselves. One flow that is used twice does not."""
    below = {
        name: tuple(
            dict.fromkeys(
                step.work.flow
                for step in flow.steps
                if isinstance(step.work, SubFlow) and step.work.flow in spec.flows
            )
        )
        for name, flow in spec.flows.items()
    }
    for path in circles(below):
        message = f"flows run each other without an end: {' -> '.join(path)}"
        notes.semantic(("flows", path[0]), message, "let one of them stop")


def _workflow(spec: Spec, terms: Terms, workflow: Workflow) -> None:
    place: Place = ("workflow", "name")
    if workflow.name and not WORKFLOW_NAME.fullmatch(workflow.name):
        message = f"the workflow's name {workflow.name[:80]!r} cannot be used"
        terms.notes.semantic(
            place, message, "write lower-case letters, digits and dashes: for example build-it"
        )
    for name, declared in workflow.input.items():
        _default(terms.notes, ("workflow", "input", name, "default"), declared)
    entry = _entry(spec, workflow)
    if entry is not None:
        _same_inputs(terms.notes, workflow, entry)
    elif spec.flows:
        terms.known(place, "flow", workflow.name, spec.flows)
    else:
        terms.notes.semantic(place, "the workflow has no flow to run", "add `flows:`")


def _entry(spec: Spec, workflow: Workflow) -> Flow | None:
    only = next(iter(spec.flows.values())) if len(spec.flows) == 1 else None
    return spec.flows.get(workflow.name, only)


def _same_inputs(notes: Notes, workflow: Workflow, entry: Flow) -> None:
    if notes.is_broken(("flows", entry.name, "input")):
        return
    for name in workflow.input:
        if name not in entry.input:
            message = f"the flow {entry.name} has no input {name}"
            notes.semantic(("workflow", "input", name), message, "declare it there too, or leave it out here")
    missing = [name for name in entry.input if name not in workflow.input]
    if missing:
        message = f"inputs of the flow {entry.name} are missing: {', '.join(missing)}"
        notes.semantic(("workflow", "input"), message, "declare them here too")


def _default(notes: Notes, place: Place, declared: WorkflowInput) -> None:
    if declared.default is not None and not _fits(declared.type, declared.default):
        notes.semantic(place, f"the default is not of the type {declared.type}", "change one of them")


def _fits(kind: str, value: Json) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (dict,),
    }
    return isinstance(value, kinds[kind])
