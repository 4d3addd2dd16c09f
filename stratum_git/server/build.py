"""The server as a whole: its name, its words for the client, its tools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mcp.server import MCPServer

from stratum_git import __version__
from stratum_git.app.desk import Desk
from stratum_git.server import (
    driving,
    looking,
    prompts,
    running,
    sessions,
    settling,
    specs,
    watching,
    workers,
)

INSTRUCTIONS = """\
stratum-git drives a flow of steps and hands task graphs to many coding agents at once: each task in a git
worktree of its own, judged by git's facts, landed one after another as one history. All it knows is in the
repository, under refs/stratum; a flow outlives this session.

You do the steps: stratum_plan(spec, flow, inputs) returns the first. Do it, report it with stratum_step_done;
the answer is the next one, or what is wrong (status ensure_failed, schema_failed, guardrail_blocked: mend it
and report again). At await_gate ask the user, then stratum_gate_resolve; of a decision made in a terminal
stratum_events(flow_id, cursor, wait_seconds) tells. In a new session stratum_flows lists what is open, and
stratum_resume(flow_id) tells where a flow is.

Fan-out: at status parallel_dispatch, `batch` has the tasks that may start now. Give each to a subagent of its
own with its `intent` and `path`: it works in `path` only and need not commit. Do not make worktrees, merge or
apply patches yourself. Report tasks as they end with stratum_parallel_done(task_results=[{task_id, status:
"complete"|"failed", result}], merge_status="clean"); the next batch comes back until all are accounted for,
then the results are merged, checked and landed here. What was rejected comes back in a batch with `findings`.

Without you: stratum_parallel_start has the tasks of the current step done by configured agents, and
stratum_execute a whole flow; both return at once. Call stratum_parallel_wait until it says settled.
Workers in other sessions take tasks with stratum_task_claim.
One agent, one prompt: stratum_agent_run, then stratum_agent_continue; stratum_agent_verify before you merge.

Afterwards: stratum_conflicts tells what conflicts, stratum_conflict_resolve opens it in a worktree and lands
what you make of it; stratum_land lands what is left, stratum_undo takes back what landed.

Refusals have an error_type and `next`: what to call instead. stratum_doctor finds what is wrong around."""

SETS: Mapping[str, Callable[[MCPServer[Any], Desk], None]] = {
    "specs": lambda server, desk: specs.register(server, desk.around),
    "steps": driving.register,
    "runs": running.register,
    "workers": workers.register,
    "agents": sessions.register,
    "settle": lambda server, desk: settling.register(server, desk.around),
    "watch": lambda server, desk: watching.register(server, desk.around),
}
"""The sets of tools that can be served; a client that has few needs few."""


def build(desk: Desk, sets: Collection[str] = tuple(SETS)) -> MCPServer[Any]:
    """Returns the server for the flows on *desk*, with these sets of tools."""
    server: MCPServer[Any] = MCPServer(
        "stratum-git", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    for name, register in SETS.items():
        if name in sets:
            register(server, desk)
    looking.register(server, desk)
    prompts.register(server)
    return server
