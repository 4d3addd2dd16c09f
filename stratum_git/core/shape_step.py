"""The shape of a step: its kind, the fields that the kind has, and what they are when left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from stratum_git.core.shape_dispatch import read_dispatch
from stratum_git.core.shape_fields import FIELDS, GATE, NULLABLE, SINCE, StepKind, home_of
from stratum_git.core.shape_reader import Reader
from stratum_git.model.ids import Json, StepId
from stratum_git.model.spec import (
    Budget,
    Call,
    Decompose,
    Function,
    Gate,
    Inline,
    Policy,
    Step,
    SubFlow,
    Version,
    Work,
)
from stratum_git.model.values import dataclass

TYPES: tuple[StepKind, ...] = ("function", "inline", "flow", "decompose", "parallel_dispatch")
BUDGET = {"ms": "0.1", "usd": "0.1", "tokens": "0.4", "dispatches": "0.4"}
MODES: Mapping[str, StepKind] = {"function": "function", "intent": "inline", "flow": "flow"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the meaning of a step depends on outside of it."""

    version: Version
    functions: Mapping[str, Function]


def read_step(dialect: Dialect, reader: Reader) -> Step:
    """Returns the step that *reader* holds; when not even its kind is clear, an empty inline step."""
    reader.close(SINCE, dialect.version)
    reader.require("id", *(("function", "inputs") if dialect.version == "0.1" else ()))
    kind = _kind(dialect, reader)
    if kind is not None:
        _misplaced(reader, kind)
    return Step(
        id=StepId(reader.text("id", "", least=1)),
        work=Inline("") if kind is None else _work(kind, dialect, reader),
        line=reader.notes.line(reader.place),
        agent=reader.text("agent", None, least=1),
        inputs=reader.texts_by_name("inputs"),
        depends_on=tuple(map(StepId, reader.texts("depends_on", least=1))),
        output_schema=reader.json("output_schema"),
        output_contract=reader.text("output_contract", None, least=1),
        ensure=reader.texts("ensure"),
        retries=reader.whole("retries", _tries(kind, dialect, reader)),
        model=reader.text("model", None, least=1),
        budget=read_budget(reader, dialect.version),
        guardrails=reader.texts("guardrails", least=1),
        reasoning_template=_reasoning(reader),
        skip_if=reader.text("skip_if", None),
        skip_reason=reader.text("skip_reason", None),
        on_fail=_step_id(reader, "on_fail"),
        next=_step_id(reader, "next"),
        max_iterations=reader.whole("max_iterations", None),
        exit_criterion=reader.text("exit_criterion", None),
        score_expr=reader.text("score_expr", None),
    )


def read_budget(reader: Reader, version: str) -> Budget | None:
    """Returns the budget of a function, step or flow."""
    if not reader.has("budget"):
        return None
    inner = reader.inner(("budget",), reader.fields["budget"])
    inner.close(BUDGET, version)
    return Budget(
        inner.whole("ms", None),
        inner.number("usd", zero=True),
        inner.whole("tokens", None),
        inner.whole("dispatches", None),
    )


def _kind(dialect: Dialect, reader: Reader) -> StepKind | None:
    declared = reader.choice("type", TYPES, "")
    if declared in {"decompose", "parallel_dispatch"}:
        return cast("StepKind", declared)
    modes = [name for name in MODES if reader.has(name)]
    if len(modes) != 1:
        # In 0.1 it is the missing function that was noted.
        if modes or dialect.version != "0.1":
            _unclear(reader, modes)
        return None
    kind = MODES[modes[0]]
    if declared and declared != kind:
        message = f"type is {declared}, but the step has the {modes[0]} of another type"
        hint = f"write type: {kind}, or leave the type out"
        reader.notes.semantic((*reader.place, "type"), message, hint)
    return "gate" if kind == "function" and _is_gate(dialect, reader) else kind


def _unclear(reader: Reader, modes: list[str]) -> None:
    have = f"has {' and '.join(modes)}" if modes else "has none of them"
    hint = "keep one of them" if modes else "add `intent:` with what is to be done"
    if not modes and (reader.has("source") or reader.has("intent_template")):
        hint = "add type: parallel_dispatch"
    message = f"a step has exactly one of {', '.join(MODES)}; this one {have}"
    reader.notes.semantic(reader.place, message, hint)


def _is_gate(dialect: Dialect, reader: Reader) -> bool:
    name = reader.fields["function"].value
    function = dialect.functions.get(name) if isinstance(name, str) else None
    if function is None or reader.notes.is_broken(("functions", function.name, "mode")):
        return any(reader.has(field) for field in GATE)
    return function.mode == "gate"


def _misplaced(reader: Reader, kind: StepKind) -> None:
    for name in reader.fields:
        ignored = name in NULLABLE and reader.is_null(name)
        if name in SINCE and name not in FIELDS[kind] and not ignored:
            message = f"{name} is not a field of a step of kind {kind}"
            reader.notes.semantic((*reader.place, name), message, home_of(name, kind))


def _work(kind: StepKind, dialect: Dialect, reader: Reader) -> Work:
    match kind:
        case "function":
            return Call(reader.text("function", "", least=1))
        case "inline":
            return Inline(reader.text("intent", "", least=1))
        case "flow":
            return SubFlow(reader.text("flow", "", least=1))
        case "gate":
            return _gate(dialect, reader)
        case "decompose":
            reader.require("agent", "intent", "output_contract")
            return Decompose(reader.text("intent", "", least=1))
        case "parallel_dispatch":
            reader.text("intent", None)
            return read_dispatch(reader, dialect.version)


def _gate(dialect: Dialect, reader: Reader) -> Gate:
    name = reader.text("function", "", least=1)
    function = dialect.functions.get(name)
    _gate_rules(reader)
    policies = get_args(Policy)
    return Gate(
        function=name,
        on_approve=_target(reader, "on_approve"),
        on_revise=_target(reader, "on_revise"),
        on_kill=_target(reader, "on_kill"),
        timeout=None if function is None else function.timeout,
        policy=cast("Policy", reader.choice("policy", policies, "gate")),
        policy_fallback=cast("Policy | None", reader.choice("policy_fallback", policies, "") or None),
    )


def _gate_rules(reader: Reader) -> None:
    """Notes the answers that a gate leaves open. These are written even where they are null."""
    meaning = {"on_approve": "complete the flow", "on_kill": "end the flow"}
    for name, what in meaning.items():
        if not reader.has(name):
            hint = f"name a step, or write {name}: null to {what}"
            reader.notes.semantic((*reader.place, name), f"the gate does not say {name}", hint)
    if not reader.has("on_revise") or reader.is_null("on_revise"):
        place = (*reader.place, "on_revise")
        reader.notes.semantic(place, "the gate does not say on_revise", "name the step to go back to")
    if reader.has("policy_fallback") and not reader.has("policy"):
        place = (*reader.place, "policy_fallback")
        reader.notes.semantic(place, "policy_fallback needs a policy", "add `policy:`")


def _target(reader: Reader, name: str) -> StepId | None:
    return None if reader.is_null(name) else _step_id(reader, name)


def _step_id(reader: Reader, name: str) -> StepId | None:
    value = reader.text(name, None, least=1)
    return None if value is None else StepId(value)


def _tries(kind: StepKind | None, dialect: Dialect, reader: Reader) -> int:
    match kind:
        case "decompose" | "parallel_dispatch":
            return 2
        case "function":
            name = reader.fields["function"].value
            function = dialect.functions.get(name) if isinstance(name, str) else None
            return 3 if function is None else function.retries
        case _:
            return 1


def _reasoning(reader: Reader) -> Mapping[str, Json] | None:
    template = reader.json("reasoning_template")
    if template is None:
        return None
    inner = Reader((*reader.place, "reasoning_template"), reader.mapping("reasoning_template"), reader.notes)
    inner.flag("require_citations", default=False)
    nodes = inner.sequence("sections")
    if inner.has("sections") and not nodes and not inner.notes.is_broken((*inner.place, "sections")):
        inner.wrong("sections", "has no section", "leave it out, or write one")
    for index, node in enumerate(nodes):
        section = inner.inner(("sections", index), node)
        section.require("id", "label", "description")
        for name in ("id", "label", "description"):
            section.text(name, "")
    return template
