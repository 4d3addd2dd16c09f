"""Retries that go on with the conversation of the attempt before, and what every attempt is handed."""

from __future__ import annotations

import pytest

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.ids import Json
from stratum_git.model.messages import Outcome, TaskReported
from stratum_git.model.state import Merged
from tests.support.flows import Stage, dispatch_spec, fan, words

ONE: list[Json] = [{"id": "one"}]
WITH_A = "test -f good.txt"


def outcomes(stage: Stage) -> list[Outcome]:
    return [
        n.event.outcome
        for n in stage.notices
        if isinstance(n, Recorded) and isinstance(n.event, TaskReported)
    ]


class Seen:
    """Plays one script after another, and keeps what it was handed, and what lay in the slot."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.handed: list[Assignment] = []
        self.files: list[dict[str, str]] = []
        self.status: list[str] = []

    def __call__(self, assignment: Assignment) -> Script:
        self.handed.append(assignment)
        found = (p for p in assignment.slot.iterdir() if p.is_file() and p.name != ".git")
        self.files.append({p.name: p.read_text() for p in found})
        return self.scripts[len(self.handed) - 1]


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
async def test_a_rejected_attempt_goes_on_in_its_conversation(stage: Stage, isolation: str) -> None:
    """The slot has the refused files as uncommitted work on the same base, so history stays clean."""
    first = Script(files={"half.txt": b"half\n"}, usage={"session_id": "s1", "usd": 0.5})
    seen = Seen(first, Script(files={"good.txt": b"x\n"}, usage={"session_id": "s1", "usd": 0.25}))
    spec = dispatch_spec(task_retries=1, verify=[WITH_A], isolation=isolation)
    state = await stage.play(spec, seen, ONE)

    assert words(state) == {"one": "merged"}
    before, after = seen.handed
    assert (before.session, before.followup) == (None, None)
    assert after.session == "s1"
    assert after.base == before.base
    assert "half.txt" in seen.files[1]
    said = after.followup or ""
    assert "`test -f good.txt` exited with 1" in said
    assert "Your work so far is in the slot as you left it" in said
    assert "do one" not in said
    assert "lies in the slot, uncommitted" in after.intent
    assert stage.scratch.git("log", "--format=%s", "-2").splitlines() == ["one: do one", "first"]
    assert stage.scratch.show("HEAD:half.txt") == "half"
    merged = fan(state).tasks[0]
    assert isinstance(merged, Merged)
    assert stage.scratch.git("rev-parse", f"{merged.result}^") == before.base
    usages = [{k: v for k, v in o.usage.items() if k != "ms"} for o in outcomes(stage)]
    assert usages == [{"usd": 0.5, "session_id": "s1"}, {"usd": 0.25, "session_id": "s1"}]


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (Script(files={"half.txt": b"1\n"}), {"verify": [WITH_A]}),  # no conversation
        (
            Script(
                files={"half.txt": b"1\n"},
                usage={"session_id": "s"},
                seconds=9,
            ),
            {"timeout": 1},
        ),
    ],
    ids=["no-session", "timeout"],
)
async def test_other_retries_begin_anew(stage: Stage, script: Script, options: dict[str, object]) -> None:
    seen = Seen(script, Script(files={"good.txt": b"x\n"}))
    state = await stage.play(dispatch_spec(task_retries=1, **options), seen, ONE)

    assert words(state) == {"one": "merged"}
    assert (seen.handed[1].session, seen.handed[1].followup) == (None, None)
    assert "half.txt" not in seen.files[1]


async def test_a_conversation_that_breaks_is_not_gone_on_with_twice(stage: Stage) -> None:
    usage: dict[str, Json] = {"session_id": "s"}
    broken = Script(files={"half.txt": b"1\n"}, fails="no such conversation", usage=usage)
    seen = Seen(broken, broken, Script(files={"good.txt": b"x\n"}))
    state = await stage.play(dispatch_spec(task_retries=2), seen, ONE)

    assert words(state) == {"one": "merged"}
    assert [a.session for a in seen.handed] == [None, "s", None]
    assert ["half.txt" in files for files in seen.files] == [False, True, False]


async def test_a_dependent_goes_on_upon_a_base_that_is_made_anew(stage: Stage) -> None:
    """Its base is merged in memory for each attempt; the conversation's own is taken while files agree."""
    usage: dict[str, Json] = {"session_id": "s"}
    # Longer than a second: until then the base would be the same commit by chance.
    first = Script(files={"late.txt": b"1\n"}, usage=usage, seconds=1.1)
    scripts = iter([first, Script(files={"good.txt": b"x\n"})])
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        if assignment.task != "late":
            return Script(files={f"{assignment.task}.txt": b"1\n"})
        handed.append(assignment)
        return next(scripts)

    tasks: list[Json] = [{"id": "x"}, {"id": "y"}, {"id": "late", "depends_on": ["x", "y"]}]
    tasks[2] = {"id": "late", "depends_on": ["x", "y"], "verify": ["test -f good.txt"]}
    state = await stage.play(dispatch_spec(task_retries=1), play, tasks)

    assert state.status == "complete"
    assert handed[1].session == "s"
    assert handed[1].base == handed[0].base
    assert {"x.txt", "y.txt", "late.txt", "good.txt"} <= set(stage.scratch.files())


async def test_the_contract_is_handed_as_a_schema(stage: Stage) -> None:
    seen = Seen(Script(files={"good.txt": b"x\n"}, output={"ok": True}))
    state = await stage.play(dispatch_spec(task_contract="R"), seen, ONE)

    assert state.status == "complete"
    wanted = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert seen.handed[0].schema == wanted
    assert seen.handed[0].meter is not None
