"""Where the output of an attempt is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.reading import UnknownTaskError, step_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.core import contest
from stratum_git.core.questions import fan_of
from stratum_git.model.ids import FlowId, StepId, TaskId
from stratum_git.store.flows import load


def log_file(around: Surroundings, name: FlowId, task: str, attempt: int | None) -> Path:
    """Returns the file with the output of an attempt, by default the last one."""
    repo = around.repository()
    state = load(repo, name)[0].state
    step = step_of(state, task)
    own = step == task
    folders = folders_of(around, repo, read_config(repo.root))
    top = folders.attempt_path(name, step, None if own else task, 1).parent
    fan = None if own else fan_of(state.step(StepId(step)))
    if fan is not None and not top.is_dir():
        # Nobody was at work at a task with candidates: what is asked for is the log of the one chosen.
        winner = contest.winner_of(fan, fan.graph.index[TaskId(task)])
        top = top if winner is None else top.with_name(fan.graph.tasks[winner].id)
    numbers = sorted(int(path.name) for path in top.glob("[0-9]*")) if top.is_dir() else []
    number = attempt if attempt is not None else (numbers[-1] if numbers else None)
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise UnknownTaskError(f"{task} has no log of attempt {number or 1}", hint=f"there are: {known}")
    return top / str(number) / "output.log"


def told_beside(log: Path) -> Iterator[str]:
    """Yields what a client's hooks noted beside a log: what subagents said last, and tools that failed."""
    for path in sorted(log.parent.glob("subagent-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            row = json.loads(path.read_bytes())
            yield f"--- subagent {row['agent_id']} ({row['agent_type']}) said last:\n{row['said']}\n"
    places = {"for this attempt": log.parent, "in sessions that drove the flow": log.parents[3]}
    for where, folder in places.items():
        with suppress(OSError):
            failures = (folder / "tools.log").read_text(encoding="utf-8", errors="replace")
            yield f"--- tools that failed {where}:\n{failures}"
