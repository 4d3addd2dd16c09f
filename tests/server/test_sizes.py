"""Answers have a size: what a client would cut off, or put into a file, is told in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stratum_git.server.boundary import LONGEST, bounded
from stratum_git.server.watching import _recent
from tests.server.driven import dispatch, plan, reported, row, spec
from tests.support.portal import Portal


def size(answer: Any) -> int:
    """Returns how long an answer is where a client measures it."""
    return len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))


def test_what_is_told_elsewhere_is_cut_before_what_is_to_be_done() -> None:
    tasks: list[dict[str, Any]] = [
        {"id": f"t{n}", "depends_on": [], "description": "x" * 300} for n in range(400)
    ]
    batch = [{"task_id": "t0", "path": "/place", "intent": "x" * 300}]
    told = bounded({"status": "parallel_dispatch", "tasks": tasks, "batch": batch})
    assert told["batch"] == batch
    assert told["tasks"] == [{"id": one["id"], "depends_on": []} for one in tasks]
    assert (told["tasks_shortened"], told["tasks_omitted"]) == (True, 0)
    assert size(told) <= LONGEST
    # Whoever makes places of his own has nothing but the tasks.
    alone = {"status": "parallel_dispatch", "tasks": tasks}
    assert bounded(alone) == alone


def test_of_very_many_tasks_the_first_are_named() -> None:
    tasks = [{"id": f"task-number-{n}"} for n in range(5000)]
    batch = [{"task_id": f"task-number-{n}", "intent": "y" * 900} for n in range(50)]
    told = bounded({"tasks": tasks, "batch": batch})
    assert size(told) <= LONGEST
    assert told["tasks"] == tasks[: 5000 - told["tasks_omitted"]]
    assert told["batch"] == batch[: 50 - told["batch_omitted"]]
    assert 20 < len(told["batch"]) < 50
    assert 500 < len(told["tasks"]) < 5000


def test_a_task_that_is_too_long_alone_is_told_all_the_same() -> None:
    batch = [{"task_id": "a", "intent": "y" * 60_000}, {"task_id": "b", "intent": "z"}]
    told = bounded({"tasks": [{"id": "a"}, {"id": "b"}], "batch": batch})
    assert (told["batch"], told["batch_omitted"]) == (batch[:1], 1)


def test_a_batch_that_is_too_long_comes_in_parts_and_all_of_it_lands(server: Portal) -> None:
    tasks = [{"id": f"t{n}", "text": "words " * 1700} for n in range(9)]
    text = spec(dispatch("do {task.text}", max_concurrent=9))
    said = plan(server, text, {"tasks": tasks})
    flow, head, seen = said["flow_id"], server.repo.head(), set()
    assert size(said) <= LONGEST
    assert said["batch_omitted"] > 0
    while said["status"] == "parallel_dispatch":
        part = [one for one in said["batch"] if one["task_id"] not in seen]
        assert part, said
        for one in part:
            Path(one["path"], f"{one['task_id']}.txt").write_text("x\n", encoding="utf-8")
        seen |= {one["task_id"] for one in part}
        said = reported(server, flow, *(row(one["task_id"]) for one in part))
        assert size(said) <= LONGEST
    assert said["status"] == "complete"
    assert len(server.repo.git("log", "--format=%s", f"{head}..main").splitlines()) == len(tasks)


def test_what_very_many_tasks_came_to_is_told_in_short(server: Portal) -> None:
    count = 600
    text = spec(dispatch(max_concurrent=2, isolation="none"))
    said = plan(server, text, {"tasks": [{"id": f"t{n}"} for n in range(count)]})
    rows = [row(f"t{n}", result={"words": "x" * 20}) for n in range(count)]
    done = reported(server, said["flow_id"], *rows)
    assert (done["status"], done["output"]["merge_status"]) == ("complete", "clean")
    assert size(done) <= LONGEST
    assert done["output_omitted"]["failed"] == 0
    for name in ("tasks", "completed"):
        told = done["output"][name]
        assert [one["task_id"] for one in told] == [f"t{n}" for n in range(len(told))]
        assert len(told) + done["output_omitted"][name] == count
        assert len(told) > 50


def test_of_very_many_flows_the_open_ones_and_the_newest_are_listed() -> None:
    rows = [{"flow_id": f"{n:016}", "status": "complete", "name": "x" * 200} for n in range(1000)]
    rows[3]["status"] = "awaiting_gate"
    told = _recent(rows)
    assert size(told) <= LONGEST
    left = 1000 - told["omitted"]["flows"]
    assert told["flows"] == [rows[3], *rows[-(left - 1) :]]
    assert 100 < left < 300
    assert _recent(rows[:5]) == {"flows": rows[:5]}
