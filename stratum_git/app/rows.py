"""What the verbs land, undo and resolve answer to programs, on the command line and as tools alike."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from stratum_git.app import late, resolving, undoing
from stratum_git.app.finishing import Again
from stratum_git.git.figures import Figures, Size, sum_of
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.messages import DroppedResult, LandedResult, LandingEntry, ParkedResult

Row: TypeAlias = dict[str, Json]


def landed_row(report: late.LandReport) -> Row:
    """Returns what ``land`` did, or would do: ``contracts/land-result.v1.schema.json``."""
    return {
        "flow_id": report.flow,
        "dry_run": report.is_dry,
        "status": report.status,
        "steps": [_step_row(one) for one in report.steps],
        "others": [{"task_id": task, "why": why} for task, why in report.others.items()],
    }


def _step_row(one: late.StepLanding) -> Json:
    tasks: list[Json] = [_entry_row(one, entry) for entry in (*one.entries, *one.unready)]
    files: list[Json] = [
        {"path": file.path, "insertions": file.insertions, "deletions": file.deletions} for file in one.files
    ]
    return {
        "step_id": one.step,
        "target": one.target,
        "strategy": one.strategy,
        "old": one.old,
        "new": one.new,
        "tree": one.tree,
        "commits": [_commit_row(commit) for commit in one.commits],
        "tasks": tasks,
        **_size_row(sum_of(one.files)),
        "changed": files,
        "findings": list(one.findings),
        "blocked": one.blocked,
        "notes": list(one.notes),
    }


def _entry_row(one: late.StepLanding, entry: LandingEntry) -> Json:
    row: Row = {"task_id": entry.task or one.step, "result": entry.result}
    match entry:
        case LandedResult(commit=commit):
            return {**row, "outcome": "landed" if commit else "nothing_to_land", "commit": commit}
        case ParkedResult(conflict=conflict, paths=paths):
            return {**row, "outcome": "parked", "conflict": conflict, "paths": list(paths)}
        case DroppedResult(kind=kind, findings=findings):
            return {**row, "outcome": "left_out", "kind": kind, "findings": list(findings)}


def undone_row(report: undoing.UndoReport) -> Row:
    """Returns what ``undo`` did, or would do: ``contracts/undo-result.v1.schema.json``."""
    targets: list[Json] = [
        {
            "target": one.target,
            "old": one.old,
            "new": one.new,
            "was_undone": one.is_done,
            "commits": [_commit_row(commit) for commit in one.commits],
        }
        for one in report.targets
    ]
    head: Row = {"flow_id": report.flow, "dry_run": report.is_dry, "targets": targets}
    return {**head, "blocked": report.blocked, "notes": list(report.notes)}


def opened_row(flow: FlowId, opened: resolving.Opened) -> Row:
    """Returns where a conflict lies: ``contracts/resolve-result.v1.schema.json``, as all of these."""
    return {
        "flow_id": flow,
        "step_id": opened.step,
        "task_id": opened.task,
        "status": "open",
        "attempt": opened.attempt,
        "by": opened.by,
        "path": str(opened.path),
        "base": opened.base,
        "target": opened.target,
        "paths": list(opened.paths),
        "is_new": opened.is_new,
        "note": opened.note,
    }


def finished_row(flow: FlowId, task: str, found: resolving.Resolved | resolving.Unresolved | Again) -> Row:
    """Returns what became of a conflict that somebody says is resolved."""
    head: Row = {"flow_id": flow, "task_id": task}
    match found:
        case resolving.Resolved(landing, status):
            more: Row = {
                "result": landing.result,
                "commit": landing.commit,
                "flow_status": status,
            }
            return {
                **head,
                "status": "landed",
                **more,
                "others": [*landing.others],
                "notes": [*landing.notes],
            }
        case resolving.Unresolved(path, findings):
            return {**head, "status": "unresolved", "path": str(path), "findings": [*findings]}
        case Again(paths):
            return {**head, "status": "conflicts_again", "paths": [*paths]}
        case _ as never:
            assert_never(never)


def given_up_row(flow: FlowId, task: str, found: resolving.GivenUp) -> Row:
    """Returns what is kept of a conflict that somebody gave up."""
    return {"flow_id": flow, "task_id": task, "status": "given_up", "kept": found.kept}


def _commit_row(one: Figures) -> Row:
    author = one.commit.author
    return {
        "commit": one.commit.oid,
        "subject": one.commit.message.partition("\n")[0],
        "author": {"name": author.name, "email": author.email},
        **_size_row(one.size),
    }


def _size_row(size: Size) -> Row:
    return {"files": size.files, "insertions": size.insertions, "deletions": size.deletions}
