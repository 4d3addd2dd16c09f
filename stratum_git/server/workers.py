"""The tools of pull workers: take a task, keep it, report it, give it back."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app import workers
from stratum_git.app.desk import Desk
from stratum_git.model.ids import FlowId
from stratum_git.server.boundary import Answer, tool

TAKES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
SECONDS = 900.0


def register(server: MCPServer[Any], desk: Desk) -> None:
    """Adds the tools to a server."""

    @server.tool(annotations=TAKES)
    @tool
    def stratum_task_claim(worker: str, flow_id: str | None = None, seconds: float = SECONDS) -> Answer:
        """Take a task of a flow, or of any: work in its `path`, then call stratum_task_complete with `lease`.

        The task is yours for `seconds`; renew the lease before it ends. status is idle when there is none.
        """
        flow = None if flow_id is None else FlowId(flow_id)
        return workers.claim(desk, flow, worker, seconds)

    @server.tool(annotations=TAKES)
    @tool
    def stratum_task_renew(lease: str, seconds: float = SECONDS) -> Answer:
        """Keep a claimed task for `seconds` from now."""
        return workers.renew(desk, lease, seconds)

    @server.tool(annotations=TAKES)
    @tool
    def stratum_task_complete(lease: str, status: str, result: dict[str, Any]) -> Answer:
        """Report a claimed task: status complete or failed. What is in its `path` is judged and kept."""
        return workers.complete(desk, lease, status, result)

    @server.tool(annotations=TAKES)
    @tool
    def stratum_task_abandon(lease: str, reason: str) -> Answer:
        """Give a claimed task back, so that another worker gets it. What you left is kept."""
        return workers.abandon(desk, lease, reason)
