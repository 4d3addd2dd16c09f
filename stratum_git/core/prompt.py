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


def task_prompt(
    intent: str,
    task: Task,
    contract: Contract | None,
    findings: Sequence[str],
    beside: Sequence[str] = (),
) -> str:
    """Returns the prompt of a task of a graph; *beside* are words about tasks that change the same places."""
    owned = [f"- {pattern}" for pattern in task.files_owned]
    scope = _section("Files", ["Change only these:", *owned]) if owned else []
    return _joined([intent], scope, _result(contract), _before(findings), _beside(beside))


def conflict_prompt(
    intent: str,
    others: Sequence[str],
    paths: Sequence[str],
    hunks: str,
    checks: Sequence[str],
    findings: Sequence[str],
) -> str:
    """Returns the prompt of whoever resolves a conflict.

    *others* say what landed before and touched the same *paths*; *checks* are run on what is made of it.
    """
    asked = [
        "The work of this task is done, and conflicts with what landed before it. Resolve the conflict: keep",
        "what the task was for, and what the others were for.",
    ]
    how = [
        *(f"- {path}" for path in paths),
        "",
        "They lie here with conflict markers: first what landed, then what the task made. `git show :1:PATH`",
        "shows a file as it was before both, `:2:` as it landed, `:3:` as the task left it; one that a side",
        "does not have was deleted there, or not there yet. Leave no marker. A file that is to stay as it",
        "lies here, `git add`; one that is to go, `git rm`. Nothing need be committed.",
    ]
    shown = ["```diff", hunks.rstrip("\n"), "```"] if hunks.strip() else []
    run = [f"- `{check}`" for check in checks]
    return _joined(
        asked,
        _section("What the task was for", [intent]),
        _section("What landed before", [f"- {line}" for line in others]) if others else [],
        _section("Files in conflict", how),
        _section("Where they conflict", shown) if shown else [],
        _section("Checks", ["These have to pass:", *run]) if run else [],
        _before(findings),
    )


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


def _beside(words: Sequence[str]) -> list[str]:
    if not words:
        return []
    said = "What the attempt before this one did conflicts with the work of other tasks:"
    return _section("Others change the same places", [said, *(f"- {line}" for line in words)])


def _fenced(value: Json) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _joined(*parts: Sequence[str]) -> str:
    return "\n".join(line for part in parts for line in part).strip() + "\n"
