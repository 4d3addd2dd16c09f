"""The tools that settle what a flow left: resolve a conflict, land what did not land, undo what did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

from stratum_git.app import late, resolving, undoing
from stratum_git.app.finishing import Again
from stratum_git.app.rows import finished_row, given_up_row, landed_row, opened_row, undone_row
from stratum_git.app.surroundings import Surroundings
from stratum_git.model.ids import FlowId
from stratum_git.model.messages import ParkedResult
from stratum_git.server.boundary import Answer, next_call, shortened, tool

AGAIN = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ENDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
RESOLVE, LAND, UNDO = "stratum_conflict_resolve", "stratum_land", "stratum_undo"
Strategy = Literal["sequential_apply", "squash", "rebase"]


def register(server: MCPServer[Any], around: Surroundings) -> None:
    """Adds the tools to a server that was started in *around*.

    They take the lock of the flow as the verbs do, and nothing of what this process has loaded; its next call
    about the flow sees what they recorded.
    """
    _register_conflicts(server, around)
    _register_landings(server, around)


def _register_conflicts(server: MCPServer[Any], around: Surroundings) -> None:
    @server.tool(annotations=AGAIN)
    @tool
    def stratum_conflict_resolve(
        flow_id: str, task_id: str, action: Literal["open", "done", "abort"] = "open"
    ) -> Answer:
        """Resolve a conflict that stratum_conflicts lists.

        open: returns the worktree (`path`) where it lies; edit there. abort: give that back; work is kept.
        done: check it, run the tests, land it. May take minutes; a call given up goes on: ask again.
        """
        flow = FlowId(flow_id)
        if action == "done":
            found = resolving.finish(around, flow, task_id)
            row = finished_row(flow, task_id, found)
            return shortened({**row, "next": _after_done(flow_id, task_id, found)})
        if action == "abort":
            row = given_up_row(flow, task_id, resolving.give_up(around, flow, task_id))
            return {**row, "next": [resolve_call(flow_id, task_id, "open", "take it up again")]}
        row = opened_row(flow, resolving.open_conflict(around, flow, task_id))
        coming = [
            resolve_call(flow_id, task_id, "done", "once `path` has no marker left and all is `git add`ed"),
            resolve_call(flow_id, task_id, "abort", "give it up"),
        ]
        return shortened({**row, "next": coming})


def _register_landings(server: MCPServer[Any], around: Surroundings) -> None:
    @server.tool(annotations=AGAIN)
    @tool
    def stratum_land(
        flow_id: str,
        task_ids: list[str] | None = None,
        strategy: Strategy | None = None,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - named by the client
    ) -> Answer:
        """Land what a flow has left, or task_ids of it: results to merge by hand, parked, left out, undone.

        Runs the tests, may take minutes; a call given up goes on: ask again. dry_run: only tell.
        """
        request = late.Request(tuple(task_ids or ()), strategy, dry_run)
        report = late.land(around, FlowId(flow_id), request)
        return shortened({**landed_row(report), "next": list(_after_landing(report, request))})

    @server.tool(annotations=ENDS)
    @tool
    def stratum_undo(flow_id: str, dry_run: bool = False) -> Answer:  # noqa: FBT001, FBT002 - as above
        """Take what a flow that is over landed off its target branch, where nobody built on it.

        The results are kept; stratum_land lands them again. dry_run: only tell.
        """
        report = undoing.undo(around, FlowId(flow_id), is_dry=dry_run)
        coming = [] if report.blocked else [_after_undoing(report)]
        return shortened({**undone_row(report), "next": coming})


def resolve_call(flow: str, task: str, action: str, why: str) -> Answer:
    """Returns a call about a conflict that comes next, and why."""
    return next_call(RESOLVE, {"flow_id": flow, "task_id": task, "action": action}, why)


def _after_done(
    flow: str, task: str, found: resolving.Resolved | resolving.Unresolved | Again
) -> list[Answer]:
    match found:
        case resolving.Unresolved():
            return [resolve_call(flow, task, "done", "once the findings are seen to in `path`")]
        case Again():
            return [resolve_call(flow, task, "open", "resolve what conflicts still")]
        case resolving.Resolved(went_on=True):
            return [next_call("stratum_resume", {"flow_id": flow}, "the flow goes on")]
        case _:
            return []


def _after_landing(report: late.LandReport, request: late.Request) -> Iterator[Answer]:
    flow: Answer = {"flow_id": report.flow}
    entries = [entry for one in report.steps for entry in one.entries]
    is_moving = any(one.old != one.new and not one.blocked for one in report.steps)
    if report.is_dry and is_moving:
        named: Answer = {"task_ids": list(request.tasks)} if request.tasks else {}
        way: Answer = {"strategy": request.strategy} if request.strategy else {}
        yield next_call(LAND, {**flow, **named, **way}, "land it")
    if any(isinstance(entry, ParkedResult) for entry in entries):
        yield next_call("stratum_conflicts", flow, "see what conflicts")
    if report.went_on:
        yield next_call("stratum_resume", flow, "the flow goes on")


def _after_undoing(report: undoing.UndoReport) -> Answer:
    flow: Answer = {"flow_id": report.flow}
    if report.is_dry and not all(one.is_done for one in report.targets):
        return next_call(UNDO, flow, "undo it")
    return next_call(LAND, flow, "land the results again")
