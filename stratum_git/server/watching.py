"""The tools that look at flows: their events, what a task changed, what its agent printed, what conflicts."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app import listing, reading
from stratum_git.app.conflicts import conflicts
from stratum_git.app.logs import log_file
from stratum_git.app.surroundings import Surroundings
from stratum_git.git.history import flow_log
from stratum_git.model.ids import FlowId
from stratum_git.server.boundary import Answer, page, refusal, tool
from stratum_git.store.listing import known_ref

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
LIMIT = 20_000
"""Characters of a page; a client asks for the next with the cursor."""
EVENTS = 100


def register(server: MCPServer[Any], around: Surroundings) -> None:
    """Adds the tools to a server that was started in *around*."""

    @server.tool(annotations=READS)
    @tool
    def stratum_flows() -> Answer:
        """List the flows of this repository with their status, oldest first."""
        return {"flows": listing.flows(around)}

    @server.tool(annotations=READS)
    @tool
    def stratum_events(flow_id: str, cursor: int = 0, limit: int = EVENTS) -> Answer:
        """Tell the events of a flow, oldest first, beginning after the first `cursor` ones."""
        repo = around.repository()
        entries = flow_log(repo, known_ref(repo, FlowId(flow_id)))
        start = max(0, cursor)
        shown = entries[start : start + max(1, min(limit, EVENTS))]
        events = [
            {"commit": e.oid, "at": e.at, "subject": e.subject, "body": e.body, "trailers": dict(e.trailers)}
            for e in shown
        ]
        return {"flow_id": flow_id, "events": events, "cursor": start + len(shown), "total": len(entries)}

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
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return refusal("task_not_found", f"{task_id} has printed nothing: its agent was not started")
        return {"flow_id": flow_id, "task_id": task_id, **page(text, cursor, min(limit, LIMIT))}

    @server.tool(annotations=READS)
    @tool
    def stratum_conflicts(flow_id: str) -> Answer:
        """List the results of a flow that were set aside because they conflict, with their paths."""
        return {"flow_id": flow_id, "conflicts": conflicts(around, FlowId(flow_id))}
