"""The words an agent is given: the intent first, then what it has to keep to, then what went wrong before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from stratum_git.model.ids import Json
from stratum_git.model.spec import Contract, Task


def step_prompt(
    intent: str, inputs: Mapping[str, Json], contract: Contract | None, findings: Sequence[str]
) -> str:
    """Returns the prompt of a step that one agent does."""
    given = _section("Inputs", [_fenced(dict(inputs))]) if inputs else []
    return _joined([intent], given, _result(contract), _before(findings))


def task_prompt(intent: str, task: Task, contract: Contract | None, findings: Sequence[str]) -> str:
    """Returns the prompt of a task of a graph."""
    owned = [f"- {pattern}" for pattern in task.files_owned]
    scope = _section("Files", ["Change only these:", *owned]) if owned else []
    return _joined([intent], scope, _result(contract), _before(findings))


def _result(contract: Contract | None) -> list[str]:
    if not contract:
        return []
    fields = [f"- {name}: {_type(field.type, field.values)}" for name, field in contract.items()]
    where = "Write it to the file named by STRATUM_RESULT_FILE, or print it last on standard output."
    return _section("Result", ["Return one JSON object with these fields:", *fields, where])


def _type(kind: str, values: tuple[Json, ...] | None) -> str:
    if values is None:
        return kind
    return f"{kind}, one of {', '.join(json.dumps(v, ensure_ascii=False) for v in values)}"


def _before(findings: Sequence[str]) -> list[str]:
    if not findings:
        return []
    lines = [f"- {finding}" for finding in findings]
    return _section("The attempt before this one was rejected", lines)


def _fenced(value: Json) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _joined(*parts: Sequence[str]) -> str:
    return "\n".join(line for part in parts for line in part).strip() + "\n"
