"""The tools with which a client does a flow: it is told a step, does it, and reports."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app import looping, saving, stepping
from stratum_git.app.desk import Desk
from stratum_git.model.ids import FlowId, StepId
from stratum_git.server.boundary import ALWAYS, Answer, bounded, page, tool

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
AGAIN = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ENDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
)
BY = "client"
LIMIT = 20_000
"""Characters of a page."""


def register(server: MCPServer[Any], desk: Desk) -> None:
    """Adds the tools to a server."""
    _register_steps(server, desk)
    _register_gates(server, desk)
    _register_loops(server, desk)
    _register_checkpoints(server, desk)


def _register_steps(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=WRITES, meta=ALWAYS)
    @tool
    def stratum_plan(spec: str, flow: str, inputs: dict[str, Any]) -> Answer:
        """Begin a flow of a spec (YAML text). Returns the first step: do it, then call stratum_step_done."""
        return bounded(stepping.plan(desk, spec, flow, inputs, BY))

    @server.tool(annotations=AGAIN, meta=ALWAYS)
    @tool
    def stratum_resume(flow_id: str) -> Answer:
        """Return where a flow is: the step to do, the gate it waits at, or how it ended."""
        return bounded(stepping.resume(desk, FlowId(flow_id)))

    @server.tool(annotations=WRITES, meta=ALWAYS)
    @tool
    def stratum_step_done(
        flow_id: str, step_id: str, result: dict[str, Any], usage: dict[str, Any] | None = None
    ) -> Answer:
        """Report the result of the current step. It is checked; returns the next step, or what is wrong.

        usage, if known, is what the step cost: {usd, tokens, turns, ms}; budgets count it.
        """
        return bounded(stepping.step_done(desk, FlowId(flow_id), StepId(step_id), result, BY, usage))

    @server.tool(annotations=WRITES, meta=ALWAYS)
    @tool
    def stratum_parallel_done(
        flow_id: str, step_id: str, task_results: list[dict[str, Any]], merge_status: str
    ) -> Answer:
        """Report tasks of a parallel_dispatch step: [{task_id, status: complete|failed, result, usage}].

        Work in each task's `path` of the batch; commits are not needed. Some of the tasks may be reported:
        the next batch comes back until all are accounted for, then the results are merged and landed here.
        merge_status: clean, or conflict when a merge of your own failed.
        """
        done = stepping.parallel_done(desk, FlowId(flow_id), StepId(step_id), task_results, merge_status, BY)
        return bounded(done)

    @server.tool(annotations=ENDS)
    @tool
    def stratum_skip_step(flow_id: str, step_id: str, reason: str) -> Answer:
        """Leave the current step out (not a gate). Its output is null; the reason is kept."""
        return bounded(stepping.skip_step(desk, FlowId(flow_id), StepId(step_id), reason, BY))

    @server.tool(annotations=READS)
    @tool
    def stratum_audit(flow_id: str) -> Answer:
        """Return the whole account of a flow: its trace, rounds, loops, flows within. Also once over."""
        return bounded(stepping.audit(desk, FlowId(flow_id)))


def _register_gates(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=ENDS, meta=ALWAYS)
    @tool
    def stratum_gate_resolve(
        flow_id: str, step_id: str, outcome: str, rationale: str, resolved_by: str
    ) -> Answer:
        """Decide at a gate. outcome: approve, revise or kill; resolved_by: human, agent or system."""
        return bounded(
            stepping.gate_resolve(desk, FlowId(flow_id), StepId(step_id), outcome, rationale, resolved_by)
        )

    @server.tool(annotations=ENDS)
    @tool
    def stratum_check_timeouts(flow_id: str) -> Answer:
        """Kill the gate where the flow waits if its time is over; else say how many seconds are left."""
        return bounded(stepping.check_timeouts(desk, FlowId(flow_id)))


def _register_loops(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=WRITES)
    @tool
    def stratum_iteration_start(flow_id: str, step_id: str) -> Answer:
        """Begin a loop on the current step, which must have max_iterations."""
        return looping.start(desk, FlowId(flow_id), StepId(step_id), BY)

    @server.tool(annotations=WRITES)
    @tool
    def stratum_iteration_report(flow_id: str, step_id: str, result: dict[str, Any]) -> Answer:
        """Report one pass of a loop. Returns whether to go on, or how the loop ended and the best result."""
        return bounded(looping.report(desk, FlowId(flow_id), StepId(step_id), result, BY))

    @server.tool(annotations=WRITES)
    @tool
    def stratum_iteration_abort(flow_id: str, step_id: str, reason: str) -> Answer:
        """Give a loop up."""
        return bounded(looping.abort(desk, FlowId(flow_id), StepId(step_id), reason, BY))


def _register_checkpoints(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=AGAIN)
    @tool
    def stratum_commit(flow_id: str, label: str) -> Answer:
        """Give the present state of a flow a name, to come back to with stratum_revert."""
        return saving.commit(desk, FlowId(flow_id), label, BY)

    @server.tool(annotations=READS)
    @tool
    def stratum_checkpoint_diff(flow_id: str, label: str, cursor: int = 0, limit: int = LIMIT) -> Answer:
        """Show how the tracked files differ from what they were at a checkpoint, as a patch, page by page."""
        patch = saving.difference(desk, FlowId(flow_id), label).decode("utf-8", "replace")
        return {"flow_id": flow_id, "label": label, **page(patch, cursor, min(limit, LIMIT))}

    @server.tool(annotations=ENDS)
    @tool
    def stratum_revert(flow_id: str, label: str) -> Answer:
        """Take a flow back to a named state. Files stay as they are; `since` lists what changed in them."""
        return bounded(saving.revert(desk, FlowId(flow_id), label, BY))
