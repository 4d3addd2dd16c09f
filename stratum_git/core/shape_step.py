"""The shape of a step: which fields each kind of step has, and what they are when left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from stratum_git.core.shape_reader import Reader
from stratum_git.model.ids import StepId
from stratum_git.model.spec import (
    Budget,
    Call,
    Decompose,
    Dispatch,
    Gate,
    Inline,
    Isolation,
    Merge,
    OnConflict,
    OnQuorum,
    Policy,
    Require,
    Step,
    SubFlow,
    Work,
)

OLDEST = ("id", "function", "inputs", "depends_on", "output_schema")
SINCE_2 = (
    "intent", "flow", "agent", "ensure", "retries", "output_contract", "model", "budget", "guardrails",
    "reasoning_template", "skip_if", "skip_reason", "on_fail", "next", "on_approve", "on_revise", "on_kill",
    "policy", "policy_fallback", "max_iterations", "exit_criterion", "score_expr",
)  # fmt: skip
SINCE_3 = ("type", "source", "intent_template", "max_concurrent", "isolation", "require", "merge")
SINCE_4 = (
    "timeout", "task_retries", "verify", "land_verify", "on_quorum", "on_conflict", "candidates", "base",
    "target", "task_contract", "task_ensure", "setup",
)  # fmt: skip
FIELDS = (
    dict.fromkeys(OLDEST, "0.1")
    | dict.fromkeys(SINCE_2, "0.2")
    | dict.fromkeys(SINCE_3, "0.3")
    | dict.fromkeys(SINCE_4, "0.4")
)
TYPES = ("function", "inline", "flow", "decompose", "parallel_dispatch")
MODES = ("function", "intent", "flow")
DISPATCH_ONLY = (*SINCE_3[1:], *SINCE_4)
GATE_ONLY = ("on_approve", "on_revise", "on_kill", "policy", "policy_fallback")

MISPLACED: Mapping[type[Work], tuple[str, ...]] = {
    Dispatch: (*GATE_ONLY, "reasoning_template"),
    Decompose: (*DISPATCH_ONLY, *GATE_ONLY),
    Gate: (
        *DISPATCH_ONLY, "ensure", "retries", "output_contract", "model", "budget", "guardrails",
        "output_schema", "on_fail", "next", "reasoning_template", "max_iterations", "score_expr",
    ),
    Call: (*DISPATCH_ONLY, "ensure", "retries", "output_contract", "model", "guardrails"),
    SubFlow: (*DISPATCH_ONLY, *GATE_ONLY, "agent", "retries", "model"),
    Inline: (*DISPATCH_ONLY, *GATE_ONLY),
}  # fmt: skip


def read_step(version: str, reader: Reader) -> Step | None:
    """Returns the step that *reader* holds; ``None`` when not even its kind is clear."""
    reader.close(FIELDS, version)
    reader.require("id", *(("function", "inputs") if version == "0.1" else ()))
    kind = reader.choice("type", TYPES, "")
    work = _work(kind, version, reader)
    if work is None:
        return None
    _misplaced(reader, work)
    return Step(
        id=StepId(_id(reader)),
        work=work,
        line=reader.node.line,
        agent=reader.text("agent", None, least=1),
        inputs=reader.texts_by_name("inputs"),
        depends_on=tuple(map(StepId, reader.texts("depends_on"))),
        output_schema=reader.json("output_schema"),
        output_contract=reader.text("output_contract", None),
        ensure=reader.texts("ensure"),
        retries=reader.whole("retries", _tries(work)),
        model=reader.text("model", None),
        budget=_budget(reader),
        guardrails=reader.texts("guardrails", least=1),
        reasoning_template=reader.json("reasoning_template"),
        skip_if=reader.text("skip_if", None),
        skip_reason=reader.text("skip_reason", None),
        on_fail=_step_id(reader, "on_fail"),
        next=_step_id(reader, "next"),
        max_iterations=reader.whole("max_iterations", None),
        exit_criterion=reader.text("exit_criterion", None),
        score_expr=reader.text("score_expr", None),
    )


def _id(reader: Reader) -> str:
    value = reader.fields["id"].value if reader.has("id") else ""
    # `id: 1` is an id to its author; YAML makes a number of it.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return reader.text("id", "", least=1)


def _work(kind: str, version: str, reader: Reader) -> Work | None:
    if kind == "decompose":
        reader.require("agent", "intent", "output_contract")
        return Decompose(reader.text("intent", ""))
    if kind == "parallel_dispatch":
        reader.require("source", "intent_template")
        return _dispatch(reader)
    modes = [name for name in MODES if reader.has(name)]
    if len(modes) != 1:
        if version != "0.1":
            have = f"it has {' and '.join(modes)}" if modes else "it has none of them"
            message = f"a step has exactly one of {', '.join(MODES)}; {have}"
            reader.problems.shape(reader.path, message, reader.node.line)
        return None
    if modes == ["intent"]:
        return Inline(reader.text("intent", "", least=1))
    if modes == ["flow"]:
        return SubFlow(reader.text("flow", ""))
    if any(reader.has(name) for name in GATE_ONLY):
        return _gate(reader)
    return Call(reader.text("function", ""))


def _gate(reader: Reader) -> Gate:
    policies = ("gate", "flag", "skip")
    fallback = reader.choice("policy_fallback", policies, "") or None
    if fallback is not None and not reader.has("policy"):
        reader.wrong("policy_fallback", "needs a policy", "add `policy:`")
    return Gate(
        function=reader.text("function", ""),
        on_approve=_step_id(reader, "on_approve"),
        on_revise=_step_id(reader, "on_revise"),
        on_kill=_step_id(reader, "on_kill"),
        policy=cast("Policy", reader.choice("policy", policies, "gate")),
        policy_fallback=cast("Policy | None", fallback),
    )


def _dispatch(reader: Reader) -> Dispatch:
    words: Mapping[str, tuple[tuple[str, ...], str]] = {
        "isolation": (("worktree", "branch", "none"), "worktree"),
        "merge": (("sequential_apply", "manual", "squash", "rebase"), "sequential_apply"),
        "on_quorum": (("cancel", "drain", "keep"), "cancel"),
        "on_conflict": (("park", "fail", "agent"), "park"),
    }
    chosen = {name: reader.choice(name, choices, default) for name, (choices, default) in words.items()}
    return Dispatch(
        source=reader.text("source", "", least=1),
        intent_template=reader.text("intent_template", ""),
        max_concurrent=reader.whole("max_concurrent", 3),
        isolation=cast("Isolation", chosen["isolation"]),
        require=_require(reader),
        merge=cast("Merge", chosen["merge"]),
        timeout=reader.number("timeout"),
        task_retries=reader.whole("task_retries", 0, least=0),
        verify=reader.commands("verify"),
        land_verify=reader.commands("land_verify"),
        setup=reader.commands("setup"),
        on_quorum=cast("OnQuorum", chosen["on_quorum"]),
        on_conflict=cast("OnConflict", chosen["on_conflict"]),
        candidates=reader.whole("candidates", 1),
        base=reader.text("base", None, least=1),
        target=reader.text("target", None, least=1),
        task_contract=reader.text("task_contract", None),
        task_ensure=reader.texts("task_ensure"),
    )


def _require(reader: Reader) -> Require:
    value = reader.fields["require"].value if reader.has("require") else "all"
    if value in {"all", "any"} and isinstance(value, str):
        return cast("Require", value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    reader.wrong("require", f"is {value!r}, not all, any or a number of at least 1")
    return "all"


def _step_id(reader: Reader, name: str) -> StepId | None:
    value = reader.text(name, None)
    return None if value is None else StepId(value)


def _budget(reader: Reader) -> Budget | None:
    if not reader.has("budget"):
        return None
    inner = reader.inner("budget", reader.fields["budget"])
    if inner is None:
        return None
    inner.close({"ms": "0.1", "usd": "0.1"}, "0.1")
    return Budget(inner.whole("ms", None), inner.number("usd", zero=True))


def _tries(work: Work) -> int:
    match work:
        case Decompose() | Dispatch():
            return 2
        case Call():
            return 3
        case _:
            return 1


def _misplaced(reader: Reader, work: Work) -> None:
    """Notes fields that this kind of step does not have."""
    bad: tuple[str, ...] = MISPLACED[type(work)]
    for name in bad:
        if reader.has(name) and name in FIELDS:
            hints = {"ensure": "put it on the function", "retries": "put it on the function"}
            hint = hints.get(name, "") if isinstance(work, Call) else ""
            reader.wrong(name, f"is not a field of {_kind(work)}", hint)


def _kind(work: Work) -> str:
    names = {Dispatch: "a parallel_dispatch step", Decompose: "a decompose step", Gate: "a gate step"}
    more = {Call: "a function step", SubFlow: "a flow step", Inline: "an inline step"}
    return (names | more)[type(work)]
