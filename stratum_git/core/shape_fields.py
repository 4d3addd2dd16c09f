"""The fields of a step: the version that each came with, and the kinds of step that have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

StepKind: TypeAlias = Literal["function", "inline", "flow", "gate", "decompose", "parallel_dispatch"]

GATE = ("on_approve", "on_revise", "on_kill", "policy", "policy_fallback")
FAN_OUT_3 = ("source", "intent_template", "isolation", "require", "merge")
FAN_OUT_4 = (
    "timeout", "task_retries", "verify", "land_verify", "on_quorum", "on_conflict", "resolver", "candidates",
    "base", "target", "task_contract", "task_ensure", "setup", "land_mode", "commit_message", "land_order",
)  # fmt: skip
SINCE: Mapping[str, str] = (
    dict.fromkeys(("id", "function", "inputs", "depends_on", "output_schema"), "0.1")
    | dict.fromkeys(
        (
            "intent", "flow", "agent", "ensure", "retries", "output_contract", "model", "budget",
            "guardrails", "reasoning_template", "skip_if", "skip_reason", "on_fail", "next",
            "max_iterations", "exit_criterion", "score_expr", *GATE,
        ),
        "0.2",
    )
    | dict.fromkeys(("type", "max_concurrent", *FAN_OUT_3), "0.3")
    | dict.fromkeys(FAN_OUT_4, "0.4")
)  # fmt: skip

# The original takes max_concurrent on every kind, so files have it.
_COMMON = ("id", "type", "inputs", "depends_on", "skip_if", "skip_reason", "max_concurrent")
_ROUTED = ("output_schema", "on_fail", "next", "max_iterations", "exit_criterion")
_PROMPTED = ("agent", "intent", "ensure", "retries", "output_contract", "model", "budget", "guardrails")
FIELDS: Mapping[StepKind, frozenset[str]] = {
    "function": frozenset((*_COMMON, *_ROUTED, "function", "agent", "score_expr")),
    "inline": frozenset((*_COMMON, *_ROUTED, *_PROMPTED, "reasoning_template", "score_expr")),
    "flow": frozenset((*_COMMON, *_ROUTED, "flow", "ensure", "output_contract", "score_expr")),
    "gate": frozenset((*_COMMON, *GATE, "function", "agent")),
    "decompose": frozenset((*_COMMON, *_ROUTED, *_PROMPTED, "reasoning_template")),
    "parallel_dispatch": frozenset((*_COMMON, *_ROUTED, *_PROMPTED, *FAN_OUT_3, *FAN_OUT_4)),
}

ON_THE_FUNCTION = ("ensure", "retries", "model", "budget", "guardrails")
NULLABLE = ("on_approve", "on_revise", "on_kill")
"""Null means the same as nothing on a step that is no gate."""


def home_of(field: str, kind: StepKind) -> str:
    """Returns a hint of where a field belongs that a step of *kind* does not have."""
    if kind == "function" and field in ON_THE_FUNCTION:
        return f"put {field} on the function"
    if kind == "function" and field == "output_contract":
        return "the function's output names the contract"
    kinds = [other for other, fields in FIELDS.items() if field in fields]
    return f"{field} is a field of: {', '.join(kinds)}"
