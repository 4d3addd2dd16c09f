"""The tools that have a flow, or the tasks of a step, done here: by a runner that outlives the client."""

from __future__ import annotations

from typing import Any

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations

from stratum_git.app import detached
from stratum_git.app.desk import Desk
from stratum_git.model.ids import FlowId, StepId
from stratum_git.server.boundary import Answer, bounded, tool, waiting_tool

STARTS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ENDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
SECONDS = 25.0


def register(server: MCPServer[Any], desk: Desk) -> None:
    """Adds the tools to a server."""
    _register_starts(server, desk)
    _register_watching(server, desk)


def _register_starts(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=STARTS)
    @tool
    def stratum_execute(
        spec: str,
        inputs: dict[str, Any],
        flow: str | None = None,
        agents: list[str] | None = None,
        target: str | None = None,
    ) -> Answer:
        """Run a whole flow here with agents, in the background. Returns at once; use stratum_parallel_wait.

        agents: NAME=COMMAND or NAME=claude, beside those of .stratum/config.yaml.
        target: the branch that results land on.
        """
        return bounded(detached.execute(desk, spec, flow, inputs, agents or [], target))

    @server.tool(annotations=STARTS)
    @tool
    def stratum_parallel_start(
        flow_id: str, step_id: str | None = None, agents: list[str] | None = None
    ) -> Answer:
        """Have the tasks of the current dispatch step done here by agents, or take up a flow nobody runs."""
        step = None if step_id is None else StepId(step_id)
        return bounded(detached.start(desk, FlowId(flow_id), step, agents or []))

    @server.tool(annotations=ENDS)
    @tool
    def stratum_parallel_cancel(
        flow_id: str, task_id: str | None = None, why: str = "cancelled by the client"
    ) -> Answer:
        """Stop a flow, or one of its tasks. The work so far is kept."""
        return bounded(detached.cancel(desk, FlowId(flow_id), task_id, why))

    @server.tool(annotations=STARTS)
    @tool
    def stratum_parallel_land(flow_id: str, agents: list[str] | None = None) -> Answer:
        """Land results whose landing was blocked, once the checkout in the way is clean."""
        return bounded(detached.land(desk, FlowId(flow_id), agents or []))


def _register_watching(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=READS)
    @tool
    def stratum_parallel_status(flow_id: str) -> Answer:
        """Tell how far a flow is: its status, whether a runner has it, and the state of its tasks."""
        return bounded(detached.status(desk, FlowId(flow_id)))

    @server.tool(annotations=READS)
    @waiting_tool
    async def stratum_parallel_wait(flow_id: str, ctx: Context[Any], seconds: float = SECONDS) -> Answer:
        """Wait, for 30 seconds at most, until a flow is over or needs somebody. Call again while it waits."""
        sending, receiving = trio.open_memory_channel[str](100)
        done: Answer = {}

        async def wait() -> None:
            nonlocal done
            with sending:
                done = await detached.wait(desk, FlowId(flow_id), seconds, sending.send_nowait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            step = 0
            async for line in receiving:
                step += 1
                await ctx.report_progress(step, message=line)
        return bounded(done)
