"""The tools for agents by themselves: one prompt, the same conversation, a verdict on what came of it."""

from __future__ import annotations

from typing import Any, Literal

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app import listing, sessions, sessions_told, verifying
from stratum_git.app.desk import Desk
from stratum_git.model.ids import FlowId
from stratum_git.model.spec import Command
from stratum_git.server.boundary import Answer, next_call, shortened, tool

STARTS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ENDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def register(server: MCPServer[Any], desk: Desk) -> None:
    """Adds the tools to a server."""
    _register_turns(server, desk)
    _register_verdicts(server, desk)
    _register_looks(server, desk)


def _register_turns(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=STARTS)
    @tool
    def stratum_agent_run(  # noqa: PLR0917 - named by the client
        prompt: str,
        agent: str = "default",
        profile: Literal["general", "verification"] = "general",
        schema: dict[str, Any] | None = None,
        base: str | None = None,
        verify: list[str] | None = None,
        timeout: float | None = None,
        budget_usd: float | None = None,
        agents: list[str] | None = None,
    ) -> Answer:
        """Begin a session: one agent, a slot and a branch of its own. Returns at once; stratum_parallel_wait.

        profile verification may only read; a change is a violation. schema: of the result. base: a commit,
        else HEAD. verify: commands a result has to pass. Nothing of yours is touched: merge the branch.
        """
        request = sessions.Request(
            prompt=prompt,
            agent=agent,
            profile=profile,
            schema=schema,
            base=base,
            verify=_commands(verify),
            timeout=timeout,
            usd=budget_usd,
            agents=tuple(agents or ()),
        )
        return _with_next(sessions.begin(desk, request))

    @server.tool(annotations=STARTS)
    @tool
    def stratum_agent_continue(session_id: str, message: str, agents: list[str] | None = None) -> Answer:
        """Say more to the agent of a session that is idle: the same conversation, in the same slot."""
        return _with_next(sessions.proceed(desk, FlowId(session_id), message, agents or []))

    @server.tool(annotations=ENDS)
    @tool
    def stratum_agent_close(session_id: str, why: str = "closed by the client") -> Answer:
        """End a session that is idle: its slot is given back, its branch stays."""
        return sessions.close(desk, FlowId(session_id), why)


def _register_verdicts(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=STARTS)
    @tool
    def stratum_agent_verify(  # noqa: PLR0913, PLR0917 - named by the client
        session_id: str | None = None,
        flow_id: str | None = None,
        task_id: str | None = None,
        commits: str | None = None,
        commands: list[str] | None = None,
        criteria: str = "",
        agent: str | None = None,
        timeout: float | None = None,
        budget_usd: float | None = None,
        agents: list[str] | None = None,
    ) -> Answer:
        """Verify work: a session's, a task's (flow_id, task_id), or commits A..B. Returns at once.

        Commands first, then a read-only reviewer (agent; "nobody": commands alone). stratum_agent_sessions
        has the report: verdict pass, pass_with_restrictions, fail_closed or insufficient_evidence; status
        could_not_run is no verdict.
        """
        wanted = verifying.Wanted(
            flow=_one_of(session_id, flow_id),
            task=task_id,
            commits=commits,
            commands=_commands(commands),
            criteria=criteria,
            agent=agent,
            timeout=timeout,
            usd=budget_usd,
            agents=tuple(agents or ()),
        )
        found = verifying.begin(desk, wanted)
        flow = {"flow_id": found["review_id"]}
        look = next_call("stratum_agent_sessions", {"session_id": found["review_id"]}, "read the report")
        return {**found, "next": [next_call("stratum_parallel_wait", flow, "wait for its end"), look]}


def _register_looks(server: MCPServer[Any], desk: Desk) -> None:
    @server.tool(annotations=READS)
    @tool
    def stratum_agent_sessions(session_id: str | None = None) -> Answer:
        """List sessions and verifications, or tell one: its turns, answers, verdicts, branch."""
        if session_id is None:
            return shortened({"sessions": listing.session_rows(desk.around).rows})
        verifying.settle(desk, sessions.looked_up(desk, FlowId(session_id)))
        return shortened(sessions_told.session_row(sessions.sight_of(desk), FlowId(session_id)))


def _commands(lines: list[str] | None) -> tuple[Command, ...]:
    return tuple(("sh", "-c", line) for line in lines or () if line.strip())


def _one_of(session: str | None, flow: str | None) -> FlowId | None:
    named = session if session is not None else flow
    return None if named is None else FlowId(named)


def _with_next(answer: Answer) -> Answer:
    flow = {"flow_id": answer["session_id"]}
    wait = next_call("stratum_parallel_wait", flow, "wait for the end of the turn")
    look = next_call("stratum_agent_sessions", {"session_id": answer["session_id"]}, "read what it answered")
    return {**answer, "next": [wait, look]}
