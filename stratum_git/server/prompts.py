"""Prompts: ways of working that a person picks, each with a spec that can be planned as it is.

What a prompt is given replaces ``{goal}``; the specs are checked by ``tests/server/test_looking.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server import MCPServer

HEAD = """\
{what}

Goal: {goal}

Work like this, and narrate it in plain words; do not show the spec unless asked:
1. Adapt the spec below to this repository and check it with stratum_validate.
2. stratum_plan(spec, flow="main", inputs={inputs}).
3. Do each step you are told, report it with stratum_step_done; mend what a check finds and report again.
4. At a parallel_dispatch step give each task of `batch` to a subagent of its own: it works in `path` only
   and need not commit. Report them with stratum_parallel_done as they end; they are merged and landed here.
5. At a gate ask the user, then stratum_gate_resolve. At the end tell what stratum_audit says.

```yaml
{spec}```
"""
PLAN = """\
version: "0.3"
contracts:
  Plan: {tasks: {type: array}}
  Done: {summary: {type: string}}
functions:
  approve: {mode: gate}
flows:
  main:
    input: {goal: {type: string}}
    steps:
      - id: plan
        type: decompose
        agent: claude
        intent: >-
          Read the code. Split the goal into tasks that can be done at the same time: id, description,
          files_owned (no file in two tasks that do not depend on each other), depends_on.
        inputs: {goal: $.input.goal}
        output_contract: Plan
        ensure: ["len(result.tasks) > 0", "no_file_conflicts(result.tasks)"]
      - id: build
        type: parallel_dispatch
        source: $.steps.plan.output.tasks
        intent_template: "{task.description}"
        max_concurrent: 4
      - id: review
        intent: Run the tests on the landed result; read the whole difference; say what is wrong.
        depends_on: [build]
        output_contract: Done
      - id: decide
        function: approve
        depends_on: [review]
        on_approve: null
        on_revise: plan
        on_kill: null
"""
STEPS = """\
version: "0.3"
contracts:
  Done: {summary: {type: string}}
flows:
  main:
    input: {goal: {type: string}}
    steps:
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of working: its name, what it is for, its spec."""

    name: str
    what: str
    spec: str


def _steps(*intents: tuple[str, str]) -> str:
    rows = []
    before = ""
    for name, intent in intents:
        needs = f"\n        depends_on: [{before}]" if before else "\n        inputs: {goal: $.input.goal}"
        rows.append(f"      - id: {name}\n        intent: >-\n          {intent}{needs}\n")
        before = name
        rows.append("        output_contract: Done\n        retries: 2\n")
    return STEPS + "".join(rows)


WAYS: tuple[Way, ...] = (
    Way("stratum-feature", "Build a feature with several agents at once.", PLAN),
    Way(
        "stratum-review",
        "Review a change in three passes, each with its evidence.",
        _steps(
            ("correctness", "Look for mistakes: edge cases, errors, races. Cite file and line."),
            ("security", "Look for what an attacker could use. Cite file and line."),
            ("design", "Look for what will be hard to carry on. Cite file and line."),
            ("report", "Put the findings together, the worst first, without repetition."),
        ),
    ),
    Way(
        "stratum-debug",
        "Find the cause of a defect before mending it.",
        _steps(
            ("reproduce", "Make the defect happen with one command."),
            ("causes", "List what may cause it, and rule out all but one by trying."),
            ("mend", "Write a test that fails for that cause, then mend it."),
        ),
    ),
    Way("stratum-refactor", "Change the structure in an order that always builds, in parallel.", PLAN),
    Way(
        "stratum-migrate",
        "Move code from one way of doing a thing to another, in parallel.",
        PLAN,
    ),
    Way("stratum-test", "Write tests for what has none, in parallel by module.", PLAN),
    Way(
        "stratum-onboard",
        "Get to know a repository and write down what the next one needs to know.",
        _steps(
            ("map", "Find out what there is: entry points, modules, how it is built and tested."),
            ("write", "Write it down where this project keeps such notes."),
        ),
    ),
    Way(
        "stratum-speckit",
        "Turn task files (*.md with acceptance criteria) into a flow: call stratum_compile_speckit"
        " with parallel=true, then plan what it returns.",
        PLAN,
    ),
)


def text(way: Way, goal: str) -> str:
    """Returns the words of a way of working, for *goal*."""
    words = HEAD.replace("{what}", way.what).replace("{inputs}", '{"goal": ...}')
    return words.replace("{spec}", way.spec).replace("{goal}", goal)


def register(server: MCPServer[Any]) -> None:
    """Adds the prompts to a server."""
    for way in WAYS:
        server.prompt(name=way.name, description=way.what)(_prompt(way))


def _prompt(way: Way) -> Callable[[str], str]:
    def prompt(goal: str) -> str:
        return text(way, goal)

    return prompt
