"""From the tree of a file to a Spec: which fields there are in which version, and their defaults."""

from __future__ import annotations

from functools import partial
from typing import cast

from stratum_git.core.shape_reader import Problems, Reader
from stratum_git.core.shape_step import read_step
from stratum_git.core.yaml_nodes import Node, plain
from stratum_git.model.spec import (
    Budget,
    Contract,
    Field,
    Flow,
    Function,
    Mode,
    Problem,
    Spec,
    Step,
    Version,
    Workflow,
    WorkflowInput,
)

VERSIONS = ("0.1", "0.2", "0.3", "0.4")
TOP = {"version": "0.1", "contracts": "0.1", "functions": "0.1", "flows": "0.1", "workflow": "0.2"}
FUNCTION = dict.fromkeys(
    ("mode", "intent", "input", "output", "ensure", "budget", "retries", "model"), "0.1"
) | {
    "timeout": "0.2",
    "guardrails": "0.2",
}
FLOW = {"input": "0.1", "output": "0.1", "steps": "0.1", "budget": "0.1", "max_rounds": "0.2"}
WORKFLOW = dict.fromkeys(("name", "description", "input"), "0.2")
TYPES = ("string", "boolean", "integer", "number", "array", "object")


def read_spec(root: Node) -> tuple[Spec, list[Problem]]:
    """Returns the spec of a file, with whatever has the wrong shape left out and noted."""
    problems = Problems()
    if not isinstance(root.value, dict):
        problems.shape("", "the file is not a map of names to values", root.line, "it begins with `version:`")
        return Spec("0.4"), problems.found
    top = Reader("", root, root.value, problems)
    version = _version(top)
    if version is None:
        return Spec("0.4"), problems.found
    top.close(TOP, version)
    spec = Spec(
        version=version,
        contracts=top.items("contracts", _contract),
        functions=top.items("functions", partial(_function, version)),
        flows=top.items("flows", partial(_flow, version)),
        workflow=_workflow(top, version),
    )
    return spec, problems.found


def _version(top: Reader) -> Version | None:
    hint = f'write version: "{VERSIONS[-1]}"'
    if not top.has("version"):
        top.problems.shape("version", "the file has no version", top.node.line, hint)
        return None
    value = str(top.fields["version"].value)
    if value not in VERSIONS:
        top.wrong("version", f"is {value}, not one of {', '.join(VERSIONS)}", hint)
        return None
    return cast("Version", value)


def _contract(reader: Reader) -> Contract:
    found: dict[str, Field] = {}
    for name, node in reader.fields.items():
        inner = reader.inner(name, node)
        if inner is None:
            continue
        inner.require("type")
        values = inner.fields["values"] if inner.has("values") else None
        if values is not None and not isinstance(values.value, list):
            inner.wrong("values", "is not a list")
            values = None
        allowed = None if values is None else cast("list[object]", plain(values))
        found[name] = Field(inner.text("type", ""), None if allowed is None else tuple(allowed))  # type: ignore[arg-type]
    return found


def _function(version: str, reader: Reader) -> Function:
    reader.close(FUNCTION, version)
    reader.require("mode", *(("intent", "input", "output") if version == "0.1" else ()))
    modes = ("infer", "compute") if version == "0.1" else ("infer", "compute", "gate")
    mode = reader.choice("mode", modes, "infer")
    if mode == "gate":
        for name in ("ensure", "budget", "retries", "guardrails"):
            if reader.has(name):
                reader.wrong(name, "has no meaning for a gate", "leave it out")
    return Function(
        name=reader.path.rpartition(".")[2],
        mode=cast("Mode", mode),
        intent=reader.text("intent", "", least=1),
        input=reader.json("input") or {},
        output=reader.text("output", ""),
        ensure=reader.texts("ensure"),
        budget=read_budget(reader),
        retries=reader.whole("retries", 3),
        model=reader.text("model", None),
        timeout=reader.whole("timeout", None),
        guardrails=reader.texts("guardrails", least=1),
    )


def _flow(version: str, reader: Reader) -> Flow:
    reader.close(FLOW, version)
    reader.require("steps", *(("output",) if version == "0.1" else ()))
    return Flow(
        name=reader.path.rpartition(".")[2],
        steps=_steps(version, reader),
        line=reader.node.line,
        input=reader.json("input") or {},
        output=reader.text("output", None),
        budget=read_budget(reader),
        max_rounds=reader.whole("max_rounds", None),
    )


def _steps(version: str, reader: Reader) -> tuple[Step, ...]:
    if not reader.has("steps"):
        return ()
    nodes = reader.fields["steps"].value
    if not isinstance(nodes, list) or not nodes:
        reader.wrong("steps", "is not a list of at least one step")
        return ()
    readers = (reader.inner(f"steps.{number}", node) for number, node in enumerate(nodes))
    steps = (read_step(version, inner) for inner in readers if inner is not None)
    return tuple(step for step in steps if step is not None)


def read_budget(reader: Reader) -> Budget | None:
    """Returns the budget of a function, step or flow."""
    if not reader.has("budget"):
        return None
    inner = reader.inner("budget", reader.fields["budget"])
    if inner is None:
        return None
    inner.close({"ms": "0.1", "usd": "0.1"}, "0.1")
    return Budget(inner.whole("ms", None), inner.number("usd", zero=True))


def _workflow(top: Reader, version: str) -> Workflow | None:
    if not top.has("workflow"):
        return None
    inner = top.inner("workflow", top.fields["workflow"])
    if inner is None:
        return None
    inner.close(WORKFLOW, version)
    inner.require("name", "description")
    return Workflow(
        name=inner.text("name", ""),
        description=inner.text("description", "", least=1),
        input=inner.items("input", _workflow_input),
    )


def _workflow_input(reader: Reader) -> WorkflowInput:
    reader.close({"type": "0.2", "required": "0.2", "default": "0.2"}, "0.2")
    reader.require("type")
    required = reader.fields["required"].value if reader.has("required") else False
    if not isinstance(required, bool):
        reader.wrong("required", "is not true or false")
    default = plain(reader.fields["default"]) if reader.has("default") else None
    return WorkflowInput(reader.choice("type", TYPES, "string"), required is True, default)
