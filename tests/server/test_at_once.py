"""Reports that workers make at once come to what they would one by one, in the order of the history."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.app import detached, stepping, workers
from stratum_git.app.asked import Asked, Fence
from stratum_git.app.desk import Desk
from stratum_git.app.refused import Refused
from stratum_git.app.surroundings import Surroundings
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Checkpointed, Event, Rejected, TaskReported
from stratum_git.model.state import FlowState
from tests.support.portal import SettledShell, settle_in

Answer = dict[str, Any]

SPEC = """
version: "0.4"
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {{task.id}}"
        max_concurrent: 20
        task_retries: 1
        require: {require}
      - {{id: after, intent: look at it, depends_on: [build]}}
"""
TASKS = ("t1", "t2", "t3", "t4", "t5")


@dataclass(frozen=True)
class Report:
    """What the worker of a task says."""

    task: str
    word: str

    def made(self, desk: Desk, leases: dict[str, str]) -> Answer:
        """Returns the answer to it, or the refusal, without what differs from flow to flow."""
        lease = leases[self.task]
        try:
            if self.word == "abandon":
                found = workers.abandon(desk, lease, "tired")
            else:
                found = workers.complete(desk, lease, self.word, {"task": self.task})
        except Refused as refused:
            return {"refused": refused.kind}
        return {key: found.get(key) for key in ("status", "reason", "flow_status", "task_id")}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> SettledShell:
    """A user in a repository of this module's."""
    return settle_in(tmp_path_factory.mktemp("at-once"))


@contextmanager
def claimed(shell: SettledShell, require: str) -> Iterator[tuple[Desk, str, dict[str, str]]]:
    """Gives a flow of which every task is a worker's, who has written a file; nothing of it is left after."""
    tip = shell.repo.head()
    with closing(Desk(Surroundings(shell.repo.path, shell.environment))) as desk:
        tasks: dict[str, Json] = {"tasks": [{"id": task} for task in TASKS]}
        flow = str(stepping.plan(desk, SPEC.format(require=require), "main", tasks, "t")["flow_id"])
        leases: dict[str, str] = {}
        for _ in TASKS:
            row = workers.claim(desk, FlowId(flow), "w", 900)
            leases[str(row["task_id"])] = str(row["lease"])
            Path(str(row["path"]), f"{row['task_id']}.txt").write_text("done\n", encoding="utf-8")
        yield desk, flow, leases
        detached.cancel(desk, FlowId(flow), None, "over")
    shell.repo.git("reset", "-q", "--hard", tip)


def history(shell: SettledShell, flow: str) -> list[str]:
    """Returns the events of a flow in its own words, without names of commits."""
    said = shell.repo.git("log", "--first-parent", "--reverse", "--format=%s", f"refs/stratum/flows/{flow}")
    return [re.sub(r"[0-9a-f]{7,}", "X", line) for line in said.splitlines()]


def made_of(shell: SettledShell, desk: Desk, flow: str) -> Answer:
    """Returns what a flow has come to."""
    state = desk.look(FlowId(flow))
    return {
        "status": state.status,
        "cursor": state.cursor,
        "build": repr(type(state.step(StepId("build")))),
        "files": shell.repo.git("ls-tree", "-r", "--name-only", "main"),
        "leases": len(shell.repo.git("for-each-ref", f"refs/stratum/leases/{flow}").splitlines()),
    }


def at_once(desk: Desk, reports: Sequence[Report], leases: dict[str, str]) -> list[Answer]:
    with ThreadPoolExecutor(len(reports)) as pool:
        return list(pool.map(lambda one: one.made(desk, leases), reports))


REPORTS = st.lists(
    st.builds(Report, st.sampled_from(TASKS), st.sampled_from(["complete", "complete", "failed", "abandon"])),
    min_size=2,
    max_size=8,
)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=REPORTS)
def test_reports_made_at_once_are_as_if_made_one_by_one(shell: SettledShell, reports: list[Report]) -> None:
    with claimed(shell, "all") as (desk, flow, leases):
        together = at_once(desk, reports, leases)
        events, end = history(shell, flow), made_of(shell, desk, flow)
    pairs = list(zip(reports, together, strict=True))
    taken = [(one, answer) for one, answer in pairs if "refused" not in answer]
    refused = [(one, answer) for one, answer in pairs if "refused" in answer]
    assert len({one.task for one, _ in taken}) == len(taken), "each lease is reported once"
    # As the history has them; who was refused came when it was too late.
    order = sorted(taken, key=lambda pair: place_of(events, pair[0].task))
    with claimed(shell, "all") as (desk, flow, leases):
        assert [one.made(desk, leases) for one, _ in order] == [answer for _, answer in order]
        again = [one.made(desk, leases)["refused"] for one, _ in refused]
        # Said twice at the same time, one finds the other in the place, and may say it again.
        assert all(b["refused"] in {a, "place_busy"} for a, (_, b) in zip(again, refused, strict=True))
        assert (history(shell, flow), made_of(shell, desk, flow)) == (events, end)


def test_a_report_that_is_being_made_when_there_are_enough_fails_nobody(shell: SettledShell) -> None:
    with claimed(shell, "2") as (desk, flow, leases):
        answers = at_once(desk, [Report(task, "complete") for task in TASKS[:4]], leases)
        end = made_of(shell, desk, flow)
    taken = [answer for answer in answers if answer.get("status") == "accepted"]
    assert len(taken) >= 2
    # Of the others each came when it was too late, and its work is kept.
    assert all(answer in taken or answer["refused"] in {"lease_lost", "place_busy"} for answer in answers)
    assert (end["cursor"], end["leases"]) == ("after", 0)


def noted(word: str) -> list[Event]:
    """Returns an event that any flow takes which is going on."""
    return [Checkpointed(1.0, "t", word, None)]


def words(shell: SettledShell, flow: str) -> list[str]:
    """Returns what was noted in a flow, in the order of its history."""
    return [found[1] for event in history(shell, flow) if (found := re.search(r"\b(word-\d)\b", event))]


def test_calls_that_are_recorded_together_are_decided_again_when_another_process_was_first(
    shell: SettledShell,
) -> None:
    with claimed(shell, "all") as (desk, name, _):
        flow = FlowId(name)
        seen: list[int] = []
        with closing(Desk(Surroundings(shell.repo.path, shell.environment))) as other:

            def first(state: FlowState) -> list[Event]:
                seen.append(state.seq)
                if len(seen) == 1:
                    other.act(flow, lambda _: noted("word-0"))
                return noted("word-1")

            asked = [Asked(first), Asked(lambda _: noted("word-2"))]
            assert desk.act_together(flow, asked) == 2
        assert seen == [seen[0], seen[0] + 1]
        assert words(shell, name) == ["word-0", "word-1", "word-2"]
        assert [one.outcome().seq for one in asked] == [seen[1] + 1, seen[1] + 2]


def test_what_is_wrong_with_one_call_is_told_to_it_and_to_nobody_else(shell: SettledShell) -> None:
    def wrong(_: FlowState) -> list[Event]:
        raise Refused("nonsense", "no")

    with claimed(shell, "all") as (desk, name, _):
        lost = Fence(RefName(f"refs/stratum/leases/{name}/build/t1"), Oid("1" * 40))
        asked = [
            Asked(lambda _: noted("word-1")),
            Asked(wrong),
            Asked(lambda _: [report_of("t1")], (lost,)),
            Asked(lambda _: noted("word-2")),
        ]
        left = asked
        while left:
            left = left[desk.act_together(FlowId(name), left) :]
        kinds = [one.error.kind if isinstance(one.error, Refused) else None for one in asked]
        assert kinds == [None, "nonsense", "lease_lost", None]
        assert words(shell, name) == ["word-1", "word-2"]


def report_of(task: str) -> Event:
    why = Rejected("agent", ("no",))
    return TaskReported(1.0, "w", StepId("build"), TaskId(task), 1, why)


def place_of(events: list[str], task: str) -> int:
    """Returns where the history first speaks of a task's end."""
    return next(n for n, event in enumerate(events) if re.search(rf"\b{task}\b", event))
