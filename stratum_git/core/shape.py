"""From the tree of a file to a Spec: which fields there are in which version, and their defaults."""

from __future__ import annotations

from functools import partial
from typing import cast, get_args

from stratum_git.core.shape_notes import Notes
from stratum_git.core.shape_reader import Reader
from stratum_git.core.shape_step import Dialect, read_budget, read_step
from stratum_git.core.yaml_nodes import Node, plain
from stratum_git.model.spec import (
    Contract,
    Field,
    Flow,
    Function,
    Mode,
    Spec,
    Step,
    Version,
    Workflow,
    WorkflowInput,
)

VERSIONS: tuple[Version, ...] = get_args(Version)
TOP = {"version": "0.1", "contracts": "0.1", "functions": "0.1", "flows": "0.1", "workflow": "0.2"}
FUNCTION = dict.fromkeys(
    ("mode", "intent", "input", "output", "ensure", "budget", "retries", "model"), "0.1"
) | dict.fromkeys(("timeout", "guardrails"), "0.2")
FLOW = {"input": "0.1", "output": "0.1", "steps": "0.1", "budget": "0.1", "max_rounds": "0.2"}
WORKFLOW = dict.fromkeys(("name", "description", "input"), "0.2")
WORKFLOW_INPUT = dict.fromkeys(("type", "required", "default"), "0.2")
TYPES = ("string", "boolean", "integer", "number", "array", "object")


def read_spec(root: Node, notes: Notes) -> Spec:
    """Returns the spec of a file. What has the wrong shape is noted, and stands in it as its default."""
    latest = VERSIONS[-1]
    if not isinstance(root.value, dict):
        hint = f'it begins with version: "{latest}"'
        notes.shape((), "the file is not a map of names to values", hint)
        return Spec(latest)
    top = Reader((), root.value, notes)
    # With no known version everything is read as the latest, so that its other problems show at once.
    version = _version(top) or latest
    top.close(TOP, version)
    functions = top.items("functions", partial(_function, version))
    return Spec(
        version=version,
        contracts=top.items("contracts", _contract),
        functions=functions,
        flows=top.items("flows", partial(_flow, Dialect(version, functions))),
        workflow=_workflow(top, version),
    )


def _version(top: Reader) -> Version | None:
    known = ", ".join(VERSIONS)
    hint = f'write version: "{VERSIONS[-1]}"'
    if not top.has("version"):
        top.wrong("version", f"is missing; known versions are {known}", hint)
        return None
    value = top.fields["version"].value
    written = str(value) if isinstance(value, str | float) else ""
    if written not in VERSIONS:
        shown = value if isinstance(value, str | int | float) else "it"
        top.wrong("version", f"is not known: {shown} is none of {known}", hint)
        return None
    return written


def _contract(_name: str, reader: Reader) -> Contract:
    inner = {name: reader.inner((name,), node) for name, node in reader.fields.items()}
    return {name: _field(field) for name, field in inner.items()}


def _field(reader: Reader) -> Field:
    reader.require("type")
    values = tuple(plain(node) for node in reader.sequence("values")) if reader.has("values") else None
    return Field(reader.text("type", "", least=1), values)


def _function(version: Version, name: str, reader: Reader) -> Function:
    reader.close(FUNCTION, version)
    reader.require("mode", *(("intent", "input", "output") if version == "0.1" else ()))
    modes = ("infer", "compute") if version == "0.1" else get_args(Mode)
    mode = cast("Mode", reader.choice("mode", modes, "infer"))
    if mode == "gate":
        _gate_function(reader)
    return Function(
        name=name,
        mode=mode,
        intent=reader.text("intent", "", least=1),
        input=reader.json("input") or {},
        output=reader.text("output", ""),
        ensure=reader.texts("ensure"),
        budget=read_budget(reader, version),
        retries=reader.whole("retries", 3),
        model=reader.text("model", None, least=1),
        timeout=reader.whole("timeout", None),
        guardrails=reader.texts("guardrails", least=1),
    )


def _gate_function(reader: Reader) -> None:
    for name in ("ensure", "budget", "retries", "guardrails"):
        if reader.has(name):
            place = (*reader.place, name)
            reader.notes.semantic(place, f"{name} has no meaning for a gate", "leave it out")


def _flow(dialect: Dialect, name: str, reader: Reader) -> Flow:
    reader.close(FLOW, dialect.version)
    reader.require("steps", *(("output",) if dialect.version == "0.1" else ()))
    return Flow(
        name=name,
        steps=_steps(dialect, reader),
        line=reader.notes.line(reader.place),
        # The original demands this field, and its own README leaves it out.
        input=reader.json("input") or {},
        output=reader.text("output", None, least=1),
        budget=read_budget(reader, dialect.version),
        max_rounds=reader.whole("max_rounds", None),
    )


def _steps(dialect: Dialect, reader: Reader) -> tuple[Step, ...]:
    """Returns one step per item, so that an index in the spec is an index in the file."""
    nodes = reader.sequence("steps")
    if reader.has("steps") and not nodes and not reader.notes.is_broken((*reader.place, "steps")):
        reader.wrong("steps", "has no step", "write at least one: - id: first")
    return tuple(read_step(dialect, reader.inner(("steps", index), node)) for index, node in enumerate(nodes))


def _workflow(top: Reader, version: Version) -> Workflow | None:
    if not top.has("workflow"):
        return None
    inner = top.inner(("workflow",), top.fields["workflow"])
    inner.close(WORKFLOW, version)
    inner.require("name", "description")
    return Workflow(
        name=inner.text("name", ""),
        description=inner.text("description", "", least=1),
        input=inner.items("input", _workflow_input),
    )


def _workflow_input(_name: str, reader: Reader) -> WorkflowInput:
    reader.close(WORKFLOW_INPUT, "0.4")
    reader.require("type")
    return WorkflowInput(
        type=reader.choice("type", TYPES, "string"),
        required=reader.flag("required", default=False),
        default=plain(reader.fields["default"]) if reader.has("default") else None,
    )
