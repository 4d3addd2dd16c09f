"""What the scripted model does in the story: it drives a flow by what the tools answer, as a real one would.

It plans, hands tasks to subagents, reports them, waits at the gate, and ends. Nothing is remembered but what
stands in its conversation: a new session has to learn from the tools where the flow is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from stratum_git.fakes.conversation import Conversation, Said
from stratum_git.fakes.scripting import Play, Turn

Block: TypeAlias = dict[str, Any]
SPEC = """\
version: "0.4"
contracts:
  Plan: {tasks: {type: array}}
  Told: {summary: {type: string}}
functions:
  review: {mode: gate}
flows:
  pages:
    input: {goal: {type: string}}
    steps:
      - id: plan
        type: decompose
        agent: claude
        intent: Split the goal into tasks that touch different files.
        inputs: {goal: $.input.goal}
        output_contract: Plan
        ensure: ["len(result.tasks) > 0", no_file_conflicts(result.tasks)]
      - id: write
        type: parallel_dispatch
        depends_on: [plan]
        source: $.steps.plan.output.tasks
        intent_template: "Write the page {task.id}."
        max_concurrent: 3
        require: all
        verify: "! grep -r TODO pages"
      - {id: look, function: review, depends_on: [write], on_approve: tell, on_revise: write, on_kill: null}
      - id: tell
        intent: Say what was done.
        depends_on: [look]
        output_contract: Told
"""
PAGES = ("one", "two", "three")
PROMPT = f"Write these pages: {' '.join(PAGES)}."
OVER = {"complete", "killed", "failed", "cancelled"}
SERVER = "mcp__stratum__"
WORKER = "WORKER-OF-A-PAGE"


def script(pages: Sequence[str] = PAGES, **last: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the script: who drives, and who writes pages; ``last`` is added to what a worker says last."""
    lanes = [{"name": f"worker-{page}", "match": {"first_user": f"{WORKER} {page} "}} for page in pages]
    writers = [
        {**lane, "turns": writing(page, last.get(page, {}))} for lane, page in zip(lanes, pages, strict=True)
    ]
    return {"lanes": [*writers, lane(Driver(claudes, subagents))]}


def lane(driver: Play) -> dict[str, Any]:
    """Returns the lane of whoever drives the flow."""
    return {"name": "main", "match": {"has_tools": True}, "play": driver}


def writing(page: str, last: Mapping[str, Any]) -> list[Turn]:
    """Returns what a worker does: some write with the shell, some with the client's tool, some commit.

    Who begins on what is there already adds a line.
    """
    place = rf"{{{{reall:{WORKER} {page} in (\S+)}}}}"
    text = f"page {page}"
    if page in {"one", "uno"}:
        block: Block = {
            "name": "Bash",
            "input": {"command": f"mkdir -p {place}/pages && echo {text} >> {place}/pages/{page}.md"},
        }
    elif page in {"two", "due"}:
        block = {"name": "Write", "input": {"file_path": f"{place}/pages/{page}.md", "content": f"{text}\n"}}
    else:
        made = (
            f"mkdir -p pages && echo {text} >> pages/{page}.md && git add -A && git commit -qm 'mine {page}'"
        )
        block = {"name": "Bash", "input": {"command": f"cd {place} && {made}"}}
    return [[{"type": "tool_use", **block}], {"text": f"wrote {page}", **last}]


def subagents(batch: Sequence[Mapping[str, Any]], told: Conversation) -> list[Block]:
    """Returns a subagent of Claude Code for each task, all at once."""
    name = "Agent" if "Agent" in told.tools else "Task"
    return [_subagent(name, one) for one in batch]


def _subagent(name: str, one: Mapping[str, Any]) -> Block:
    prompt = f"{WORKER} {one['task_id']} in {one['path']} : {one['intent']}"
    words = {"description": f"page {one['task_id']}", "prompt": prompt, "subagent_type": "general-purpose"}
    return {"type": "tool_use", "name": name, "input": {**words, "run_in_background": False}}


@dataclass(frozen=True)
class Driver:
    """Drives the flow: ``named`` says how the client names our tools, ``work`` how it has tasks done."""

    named: Callable[[str], Mapping[str, Any]]
    work: Callable[[Sequence[Mapping[str, Any]], Conversation], list[Block]]

    def __call__(self, told: Conversation) -> Turn:
        """Returns what comes next, after the last answers of tools."""
        rows = [row for row in map(row_of, told.last_results) if row is not None]
        if not told.last_results:
            return [self._first(told)]
        return self._next(rows[-1], told) if rows else [self._without_answer(told)]

    def _without_answer(self, told: Conversation) -> Block:
        """Returns what comes after work, or after a call for which the client was not ready."""
        if "till connecting" in told.last_tool_result:
            return {"type": "tool_use", "name": "WaitForMcpServers", "input": {}}
        if any((row_of(one) or {}).get("batch") for one in told.results):
            return self._report(told)
        return self._first(told)

    def call(self, tool: str, **arguments: Any) -> Block:
        """Returns a call of a tool of ours."""
        return {"type": "tool_use", "input": arguments, **self.named(f"stratum_{tool}")}

    def _first(self, told: Conversation) -> Block:
        return self.call("flows") if "go on" in told.last_prompt else self._begin()

    def _begin(self) -> Block:
        return self.call("plan", spec=SPEC, flow="pages", inputs={"goal": "pages"})

    def _next(self, row: dict[str, Any], told: Conversation) -> Turn:
        flow = row.get("flow_id")
        match row:
            case {"flows": flows}:
                still = [one["flow_id"] for one in flows if one["status"] not in OVER]
                return [self.call("resume", flow_id=still[-1]) if still else self._begin()]
            case {"events": _, "cursor": cursor}:
                return [self._wait(str(flow), cursor, told)]
            case {"status": "execute_step", "step_id": "plan"}:
                return [self.call("step_done", flow_id=flow, step_id="plan", result={"tasks": _tasks(told)})]
            case {"status": "execute_step", "step_id": "tell"}:
                return [self.call("step_done", flow_id=flow, step_id="tell", result={"summary": "the pages"})]
            case {"status": "parallel_dispatch", "batch": [_, *_] as batch}:
                return self.work(batch, told)
            case {"status": "await_gate"}:
                return [self.call("events", flow_id=flow)]
            case {"status": "complete"}:
                return f"All is done: {row['output']['summary']}."
            case {"status": "error", "next": [{"args": {"flow_id": named}}, *_]}:
                return [self.call("resume", flow_id=named)]
            case _:
                return f"I do not know what to do: {json.dumps(row)[:1000]}"

    def _wait(self, flow: str, cursor: int, told: Conversation) -> Block:
        """A decision may come between any two calls: after each wait it is asked where the flow is."""
        if len(told.results) > 1 and "events" in (row_of(told.results[-2]) or {}):
            return self.call("resume", flow_id=flow)
        return self.call("events", flow_id=flow, cursor=cursor, wait_seconds=10)

    def _report(self, told: Conversation) -> Block:
        rows = (row_of(one) for one in reversed(told.results))
        said = next(row for row in rows if row is not None and row.get("batch"))
        done = [{"task_id": one["task_id"], "status": "complete", "result": {}} for one in said["batch"]]
        given = {"flow_id": said["flow_id"], "step_id": said["step_id"], "task_results": done}
        return self.call("parallel_done", **given, merge_status="clean")


def claudes(tool: str) -> Mapping[str, Any]:
    """Returns how Claude Code names our tools."""
    return {"name": f"{SERVER}{tool}"}


def by_hand(name: str, key: str) -> Callable[[Sequence[Mapping[str, Any]], Conversation], list[Block]]:
    """Returns the work of a client without subagents: it writes the pages itself, with its shell."""

    def work(batch: Sequence[Mapping[str, Any]], told: Conversation) -> list[Block]:
        lines = [
            f"mkdir -p {path}/pages; echo page {page} > {path}/pages/{page}.md"
            for path, page in ((one["path"], one["task_id"]) for one in batch)
        ]
        return [{"type": "tool_use", "name": name, "input": {key: "; ".join(lines), "description": "write"}}]

    return work


def _tasks(told: Conversation) -> list[dict[str, Any]]:
    named = re.search(r"these pages: ([\w ]+)", told.last_prompt)
    pages = named[1].split() if named else PAGES
    return [{"id": page, "files_owned": [f"pages/{page}.md"], "changes": "required"} for page in pages]


def row_of(said: Said) -> dict[str, Any] | None:
    """Returns what a tool of ours has answered, whatever the client puts before it."""
    start = said.text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(said.text, max(start, 0))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
