"""What was set aside."""

from __future__ import annotations

from stratum_git.app.surroundings import Surroundings
from stratum_git.core.questions import fan_of
from stratum_git.git.refs import read_refs
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.state import Parked
from stratum_git.store.flows import load


def conflicts(around: Surroundings, flow: FlowId) -> list[Json]:
    """Returns the parked results of a flow: step, task, result, the commit with markers, its paths."""
    repo = around.repository()
    state = load(repo, flow)[0].state
    prefix = f"refs/stratum/conflicts/{flow}/"
    refs = {ref.removeprefix(prefix): (ref, oid) for ref, oid in read_refs(repo, prefix).items()}
    rows: list[Json] = []
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        tasks = () if fan is None else zip(fan.graph.tasks, fan.tasks, strict=True)
        for task, parked in tasks:
            found = refs.get(f"{step}/{task.id}")
            if isinstance(parked, Parked) and found is not None:
                row: dict[str, Json] = {"step_id": step, "task_id": task.id, "result": parked.result}
                rows.append({**row, "ref": found[0], "conflict": found[1], "paths": list(parked.paths)})
    return rows
