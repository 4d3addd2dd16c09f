"""The tools that look at flows: their events, what a task changed, what its agent printed, what conflicts."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import trio
from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.agents.output import plain_text
from stratum_git.app import listing, reading
from stratum_git.app.conflicts import conflicts
from stratum_git.app.logs import log_file
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.wording import ENDINGS
from stratum_git.dispatch.clock import monotonic
from stratum_git.git.history import LogEntry, flow_log
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId
from stratum_git.server.boundary import ALWAYS, LONGEST, Answer, page, refusal, tool
from stratum_git.server.settling import resolve_call
from stratum_git.store.listing import event_count, known_ref

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
LIMIT = 20_000
"""Characters of a page; a client asks for the next with the cursor."""
EVENTS = 100
CALLS = 10
"""Conflicts for which the call that opens them is told."""
LONGEST_WAIT = 30.0
PAUSE = 0.1
OVER = ENDINGS | {"complete"}


def register(server: MCPServer[Any], around: Surroundings) -> None:
    """Adds the tools to a server that was started in *around*."""
    _register_flows(server, around)
    _register_tasks(server, around)


def _register_flows(server: MCPServer[Any], around: Surroundings) -> None:
    @server.tool(annotations=READS, meta=ALWAYS)
    @tool
    def stratum_flows() -> Answer:
        """List the flows of this repository with their status, oldest first; of many the open and newest."""
        return _recent(listing.flows(around))

    @server.tool(annotations=READS)
    @tool
    def stratum_events(flow_id: str, cursor: int = 0, limit: int = EVENTS, wait_seconds: float = 0) -> Answer:
        """Tell the events of a flow, oldest first, after the first `cursor` ones.

        With wait_seconds (30 at most) wait until there are any.
        """
        repo = around.repository()
        start = max(0, cursor)
        entries, total = _entries(repo, FlowId(flow_id), start, wait_seconds)
        shown = entries[: max(1, min(limit, EVENTS))]
        events = [
            {"commit": e.oid, "at": e.at, "subject": e.subject, "body": e.body, "trailers": dict(e.trailers)}
            for e in shown
        ]
        bounded_events = _within(events)
        end = start + len(bounded_events)
        return {"flow_id": flow_id, "events": bounded_events, "cursor": end, "total": total}

    @server.tool(annotations=READS)
    @tool
    def stratum_doctor() -> Answer:
        """Look whether all is well: git, repository, settings, agents, flows nobody runs, forgotten work."""
        # With all that it looks at it takes as long to load as half of the tools.
        found = import_module("stratum_git.app.doctor.whole").examine(around)
        worst = max(found, key=lambda finding: ("ok", "warn", "fail").index(finding.verdict))
        return {"verdict": worst.verdict, "findings": [finding.row() for finding in found]}


def _register_tasks(server: MCPServer[Any], around: Surroundings) -> None:
    @server.tool(annotations=READS)
    @tool
    def stratum_task_diff(
        flow_id: str, task_id: str, attempt: int | None = None, cursor: int = 0, limit: int = LIMIT
    ) -> Answer:
        """Show what a task changed as a patch, by default of its last attempt; long ones page by page."""
        patch = reading.diff(around, FlowId(flow_id), task_id, attempt).decode("utf-8", "replace")
        return {"flow_id": flow_id, "task_id": task_id, **page(patch, cursor, min(limit, LIMIT))}

    @server.tool(annotations=READS)
    @tool
    def stratum_task_log(
        flow_id: str, task_id: str, attempt: int | None = None, cursor: int = 0, limit: int = LIMIT
    ) -> Answer:
        """Show what the agent of a task printed, by default in its last attempt; long ones page by page."""
        path = log_file(around, FlowId(flow_id), task_id, attempt)
        try:
            # A terminal's escapes are for a terminal, and an agent's not even for that.
            data = path.read_bytes()
            text = plain_text(data) + ("\n" if data.endswith(b"\n") else "")
        except FileNotFoundError:
            return refusal("task_not_found", f"{task_id} has printed nothing: its agent was not started")
        return {"flow_id": flow_id, "task_id": task_id, **page(text, cursor, min(limit, LIMIT))}

    @server.tool(annotations=READS)
    @tool
    def stratum_conflicts(flow_id: str, task_id: str | None = None, cursor: int = 0) -> Answer:
        """List the results of a flow that conflict: paths, the intents of both sides, hunks, what to do next.

        Tell those after the first `cursor` ones.
        """
        found = conflicts(around, FlowId(flow_id), task_id)
        start = max(0, cursor)
        shown = _within(found[start:])
        end = start + len(shown)
        return {
            "flow_id": flow_id,
            "conflicts": [_brief(one) for one in shown],
            "cursor": end,
            "total": len(found),
            "next": [
                resolve_call(flow_id, one["task_id"], "open", f"resolve the conflict of {one['task_id']}")
                for one in shown
                if one["task_id"] is not None
            ][:CALLS],
        }


def _entries(repo: Repository, flow: FlowId, after: int, seconds: float) -> tuple[tuple[LogEntry, ...], int]:
    """Returns the events of a flow after the first so many, and how many there are in all.

    Where there are none it waits for some, for so many seconds.
    """
    ref = known_ref(repo, flow)
    deadline = monotonic() + min(max(seconds, 0.0), LONGEST_WAIT)
    while True:
        tip, total = tip_nowait(repo, ref), event_count(repo, flow)
        if total > after:
            return flow_log(repo, ref, total - after), total
        if monotonic() >= deadline:
            return (), total
        while tip_nowait(repo, ref) == tip and monotonic() < deadline:
            trio.from_thread.run(trio.sleep, PAUSE)


def _recent(rows: list[Any]) -> Answer:
    """Returns as many flows as an answer holds: those that are not over come first, then those of late."""
    wanted = sorted(range(len(rows)), key=lambda at: (rows[at]["status"] in OVER, -at))
    kept = {at for at, _ in zip(wanted, _within([rows[at] for at in wanted]), strict=False)}
    flows = [row for at, row in enumerate(rows) if at in kept]
    omitted = {"omitted": {"flows": len(rows) - len(flows)}} if len(flows) < len(rows) else {}
    return {"flows": flows, **omitted}


def _brief(conflict: Answer) -> Answer:
    """Returns a conflict without the hunks of files, from the last on, for which an answer has no room."""
    files = list(conflict["files"])
    for number, file in reversed(list(enumerate(files))):
        if len(json.dumps(conflict | {"files": files}, ensure_ascii=False)) <= LONGEST:
            break
        files[number] = file | {"hunks": [], "more": file["more"] + len(file["hunks"])}
    return conflict | {"files": files}


def _within(events: list[Answer]) -> list[Answer]:
    """Returns as many of *events* as an answer holds, at least one."""
    kept, length = 0, 0
    for event in events:
        length += len(json.dumps(event, ensure_ascii=False))
        if kept and length > LONGEST:
            break
        kept += 1
    return events[:kept]
