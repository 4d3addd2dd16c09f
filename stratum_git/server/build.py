"""The server as a whole: its name, its words for the client, its tools."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer

from stratum_git import __version__
from stratum_git.app.desk import Desk
from stratum_git.server import driving, running, specs, watching, workers

INSTRUCTIONS = """\
stratum-git runs task graphs over many coding agents at once: each attempt in a git worktree of its own,
judged by git's facts, landed one after another as one history. What it knows is in the repository, under
refs/stratum.

Write a spec (.stratum.yaml) and check it with stratum_validate. Run it in a terminal: `stratum-git run SPEC`.
Then stratum_flows lists the flows, stratum_events tells what happened, stratum_task_diff and stratum_task_log
show what a task did, stratum_conflicts what was set aside. A flow that was interrupted goes on with
`stratum-git resume FLOW`."""


def build(desk: Desk) -> MCPServer[Any]:
    """Returns the server for the flows on *desk*."""
    server: MCPServer[Any] = MCPServer(
        "stratum-git", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    specs.register(server, desk.around)
    driving.register(server, desk)
    running.register(server, desk)
    workers.register(server, desk)
    watching.register(server, desk.around)
    return server
