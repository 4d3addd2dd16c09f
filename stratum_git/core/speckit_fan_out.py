"""Turns task files into a flow whose tasks marked [P] run beside each other.

A run of marked tasks becomes one parallel_dispatch step, every other task a step of its own, each after the
one before. A step takes its tasks from an input; the flow carries them as that input's default, so that
nobody has to give them. There they are data: the step's template only fills them in. An agent is done when
its command is, so no task has to say so, as it has to in a spec for the original.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from stratum_git.core.speckit import FLAGS, TaskFile
from stratum_git.model.ids import Json

CONTEXT = "project_context"
TEMPLATE = f"{{task.description}}\n\n{{input.{CONTEXT}}}"


def compile_fan_out(tasks: Sequence[TaskFile], flow: str) -> str:
    """Returns the text of a spec whose flow fans out each run of tasks that are marked."""
    runs = _runs(tasks)
    names = _names(tasks, runs)
    inputs: dict[str, Json] = {CONTEXT: {"type": "string", "default": ""}}
    steps: list[Json] = []
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        after: dict[str, Json] = {"depends_on": [names[number - 1]]} if number else {}
        if len(run) == 1:
            steps.append({"id": name} | after | _alone(run[0]))
            continue
        inputs[name] = {
            "type": "array",
            "default": [{"id": task.id, "description": _description(task)} for task in run],
        }
        steps.append({"id": name, "type": "parallel_dispatch"} | after | _fanned_out(name, run))
    spec: dict[str, Json] = {"version": "0.4", "flows": {flow: {"input": inputs, "steps": steps}}}
    return yaml.dump(
        spec, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=110
    )


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, for those who read it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _runs(tasks: Sequence[TaskFile]) -> list[list[TaskFile]]:
    """Returns what runs at one time: neighbours that are marked, or a task by itself."""
    runs: list[list[TaskFile]] = []
    for task in tasks:
        if task.parallel and runs and runs[-1][-1].parallel:
            runs[-1].append(task)
        else:
            runs.append([task])
    return runs


def _names(tasks: Sequence[TaskFile], runs: Sequence[Sequence[TaskFile]]) -> list[str]:
    """Returns the id of each step: its task's, or for several one that no task has."""
    taken = {task.id for task in tasks}
    names = []
    number = 0
    for run in runs:
        name = run[0].id
        if len(run) > 1:
            number += 1
            while (name := f"parallel_{number}") in taken:
                number += 1
        names.append(name)
    return names


def _alone(task: TaskFile) -> dict[str, Json]:
    step: dict[str, Json] = {
        "intent": _description(task),
        "inputs": {CONTEXT: f"$.input.{CONTEXT}"},
        "retries": 2,
    }
    ensures: list[Json] = [*task.ensures]
    return step | ({"ensure": ensures} if ensures else {})


def _fanned_out(name: str, run: Sequence[TaskFile]) -> dict[str, Json]:
    step: dict[str, Json] = {
        "source": f"$.input.{name}",
        "intent_template": TEMPLATE,
        "task_retries": 1,
    }
    # A step's tasks share its checks. One for each criterion, since a check that fails is told as it is.
    ensures: list[Json] = [f'task.id != "{task.id}" or {ensure}' for task in run for ensure in task.ensures]
    return step | ({"task_ensure": ensures} if ensures else {})


def _description(task: TaskFile) -> str:
    criteria = [f"- {criterion}" for criterion in task.criteria]
    checks = ["\n".join(["Acceptance criteria:", *criteria])] if criteria else []
    flags = [f'"{name}": true' for name, asked in FLAGS.items() if asked in task.ensures]
    answer = f"When that is so, return the JSON object {{{', '.join(flags)}}}: print it last, or write it to "
    told = [f"{answer}the file named by STRATUM_RESULT_FILE."] if flags else []
    return "\n\n".join(part for part in (task.title, task.body, *checks, *told) if part)
