"""The slot that stays with a session, what lands of its turns, and what one that may only look may do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.app.recovery import give_back
from stratum_git.app.running import Handle
from stratum_git.model.ids import FlowId
from tests.support.repos import ScratchRepo
from tests.support.talks import Talk


class Agent:
    """Plays one script after another, and keeps what it was handed, and what lay in its slot."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.handed: list[Assignment] = []
        self.files: list[dict[str, str]] = []
        self.dirty: list[str] = []

    def __call__(self, given: Assignment) -> Script:
        self.handed.append(given)
        found = (path for path in given.slot.iterdir() if path.is_file() and path.name != ".git")
        self.files.append({path.name: path.read_text() for path in found})
        self.dirty.append(git_in(given.slot, "status", "--porcelain"))
        return self.scripts.pop(0)


def git_in(slot: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=slot, capture_output=True, text=True, check=True).stdout


def does(words: str) -> Callable[[Assignment], None]:
    """Returns what runs a shell command in the slot."""

    def do(given: Assignment) -> None:
        subprocess.run(["sh", "-ec", words], cwd=given.slot, check=True, env=ENV)

    return do


ENV = {
    "PATH": "/usr/bin:/bin:/usr/local/bin",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x",
}  # fmt: skip
USAGE = {"session_id": "s1"}


async def test_each_turn_is_one_commit_and_all_are_in_the_same_slot(scratch: ScratchRepo) -> None:
    scratch.commit("ignores", {".gitignore": "*.o\n"})
    agent = Agent(
        Script(files={"one.txt": b"1\n", "built.o": b"cache"}, says="I made one", usage=USAGE),
        Script(files={"two.txt": b"2\n"}, then=does("git add -A; git commit -qm mine"), usage=USAGE),
        Script(files={"one.txt": None}, usage=USAGE),
    )
    talk = Talk(scratch, agent)
    first = await talk.begin("make one")
    slot = talk.slot
    second = await talk.say("make two\nand more")
    third = await talk.say("drop one")

    assert [turn.status for turn in (first, second, third)] == ["done"] * 3
    assert first.text == "I made one"
    assert talk.subjects() == ["make one", "make two", "drop one"]
    assert {*talk.files()} - {".gitignore", "a.txt", "b.txt", "dir/c.txt"} == {"two.txt"}
    assert {given.slot for given in agent.handed} == {slot}
    assert agent.files[1]["built.o"] == "cache", "what git ignores stays"
    assert agent.dirty == ["", "", ""], "what has landed is no change any more"
    assert [given.session for given in agent.handed] == [None, "s1", "s1"]
    assert agent.handed[1].followup == "make two\nand more\n"
    assert talk.session.conversation == "s1"
    assert scratch.git("status", "--porcelain") == ""
    assert scratch.git("log", "-1", "--format=%s") == "ignores"
    tips = scratch.git("log", "--format=%H", talk.branch).splitlines()
    assert [second.base, third.base] == [first.commit, second.commit]
    assert third.commit == tips[0]


async def test_what_was_refused_lies_there_still_and_the_next_turn_mends_it(scratch: ScratchRepo) -> None:
    agent = Agent(
        Script(
            files={"bad.txt": b"x"}, then=does("git add bad.txt; git commit -qm mine; echo y > loose.txt")
        ),
        Script(files={"good.txt": b"x"}),
    )
    talk = Talk(scratch, agent)
    first = await talk.begin("do it", verify=(("test", "-f", "good.txt"),))
    assert (first.status, first.kind) == ("failed", "verify")
    assert "exited with 1" in first.findings[0]
    assert talk.subjects() == []
    kept = scratch.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts/session-1")
    assert kept == "refs/stratum/attempts/session-1/work/-step/1"

    second = await talk.say("the tests want good.txt")
    assert second.status == "done"
    assert {"bad.txt", "loose.txt"} <= agent.files[1].keys()
    assert {"bad.txt", "loose.txt", "good.txt"} <= {*talk.files()}
    assert talk.subjects() == ["the tests want good.txt"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("git add b.txt; git commit -q --amend -m amended", "history"),
        ("echo hunter2-and-more > k.txt; git add k.txt; git commit -qm leak; git rm -q k.txt", "secret"),
    ],
)
async def test_commits_that_can_never_land_do_not_end_a_session(
    scratch: ScratchRepo, monkeypatch: pytest.MonkeyPatch, words: str, kind: str
) -> None:
    monkeypatch.setenv("LEAKING", "hunter2-and-more")
    settings = "agents: {other: {command: [x], secrets: [LEAKING]}}\n"
    scratch.commit("settings", {".stratum/config.yaml": settings})
    agent = Agent(
        Script(files={"a.txt": b"a"}),
        Script(files={"b.txt": b"b"}, then=does(words)),
        Script(files={"c.txt": b"c"}),
    )
    talk = Talk(scratch, agent)
    await talk.begin("one")
    refused = await talk.say("two")
    assert (refused.status, refused.kind) == ("failed", kind)
    assert (await talk.say("three")).status == "done"
    assert talk.subjects() == ["one", "three"]
    assert "c.txt" in {*talk.files()}


async def test_an_agent_without_conversations_is_told_what_was_said_before(scratch: ScratchRepo) -> None:
    agent = Agent(Script(says="line one\nthe number is 42"), Script(fails="it broke"), Script())
    talk = Talk(scratch, agent)
    await talk.begin("find the number")
    await talk.say("use it")
    await talk.say("again")
    told = agent.handed[2].intent
    assert "the number is 42" in told, "not the first line alone"
    assert [told.index(word) for word in ("find the number", "42", "use it", "it broke", "# Now\n\nagain")]
    assert agent.handed[2].session is None


async def test_a_turn_that_was_cut_off_goes_on_with_what_lies_in_its_slot(scratch: ScratchRepo) -> None:
    begun = trio.Event()

    def starts(given: Assignment) -> None:
        (given.slot / "half.txt").write_text("half\n")
        begun.set()

    agent = Agent(
        Script(files={"one.txt": b"1"}, usage=USAGE),
        Script(then=starts, seconds=3600),
        Script(files={"whole.txt": b"w"}, usage=USAGE),
    )
    talk, handle = Talk(scratch, agent), Handle()
    await talk.begin("one")
    slot = talk.slot

    async def cut() -> None:
        await begun.wait()
        handle.interrupt()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut)
        await talk.say("go on", handle=handle)
    assert talk.state.status == "running"
    assert talk.slot == slot
    turn = await talk.run()
    assert turn.status == "done"
    assert agent.files[2]["half.txt"] == "half\n"
    assert agent.handed[2].slot == slot
    assert "An attempt at this was cut off" in (agent.handed[2].followup or "")
    assert {"half.txt", "whole.txt"} <= {*talk.files()}


async def test_others_leave_the_slot_alone_until_the_session_is_closed(scratch: ScratchRepo) -> None:
    talk = Talk(scratch, Agent(Script(files={"one.txt": b"1"}), Script(files={"two.txt": b"2"})))
    other = Talk(scratch, Agent(Script(files={"x.txt": b"x"})), FlowId("session-2"))
    await talk.begin("one")
    slot = talk.slot
    assert slot is not None
    (slot / "mine.txt").write_text("a person was here\n")
    await other.begin("x")
    context = talk.context()
    give_back(context)
    context.pool.tidy()
    assert talk.slot == slot != other.slot
    assert (slot / "mine.txt").is_file()
    await talk.say("two")
    assert {"one.txt", "two.txt", "mine.txt"} <= {*talk.files()}, "what a person left there is not lost"

    (slot / "late.txt").write_text("late\n")
    talk.close()
    give_back(context)
    context.close()
    assert context.pool.recover("session-1") == ()
    assert not (slot / "late.txt").exists()
    kept = scratch.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts/session-1")
    assert scratch.show(f"{kept.splitlines()[-1]}:late.txt") == "late"


@pytest.mark.parametrize("everything", [False, True])
async def test_a_session_whose_slot_is_gone_goes_on_at_the_tip_of_its_branch(
    scratch: ScratchRepo, everything: bool
) -> None:
    agent = Agent(Script(files={"one.txt": b"1"}), Script(files={"two.txt": b"2"}))
    talk = Talk(scratch, agent)
    await talk.begin("one")
    slot = talk.slot
    assert slot is not None
    # Where the slot is a mount, its folder stays.
    shutil.rmtree(slot.parent if everything else slot, ignore_errors=True)
    assert not slot.exists() or not any(slot.iterdir())
    turn = await talk.say("two", note="it is gone")
    assert turn.status == "done"
    assert "one.txt" in agent.files[1]
    assert "it is gone" in agent.handed[1].intent
    assert talk.subjects() == ["one", "two"]


async def test_commits_of_others_on_the_branch_are_there_in_the_next_turn(scratch: ScratchRepo) -> None:
    agent = Agent(Script(files={"one.txt": b"1"}), Script(files={"two.txt": b"2"}))
    talk = Talk(scratch, agent)
    await talk.begin("one")
    scratch.git("branch", "theirs", talk.branch)
    scratch.git("checkout", "-q", "theirs")
    scratch.commit("by a person", {"theirs.txt": "t"})
    scratch.git("checkout", "-q", "main")
    scratch.git("update-ref", talk.branch, "theirs")
    await talk.say("two")
    assert agent.files[1]["theirs.txt"] == "t"
    assert talk.subjects() == ["one", "by a person", "two"]


LOOKS = {
    "a tracked file": "echo z > a.txt",
    "a new file": "echo z > new.txt",
    "a deleted file": "rm b.txt",
    "a staged file": "echo q > q; git add q; rm q",
    "a commit": "echo z > n; git add n; git commit -qm mine",
    "an empty commit": "git commit -q --allow-empty -m mine",
    "a stash": "echo z > a.txt; git stash -q",
    "another branch": "git branch stratum/session-1/other",
    "nothing left": 'rm -rf "$PWD" || test ! -e a.txt',
    "no repository": "rm .git",
    "a merge": "git checkout -q --detach; echo 1 > a.txt; git commit -qam l; git checkout -q HEAD^; "
    "echo 2 > a.txt; git commit -qam r; git merge -q HEAD@{2} || true",
}


async def test_who_may_only_look_and_changes_something_is_told_off(scratch: ScratchRepo) -> None:
    agent = Agent(*(Script(then=does(words), says="I only looked") for words in LOOKS.values()), Script())
    talk = Talk(scratch, agent)
    turn = await talk.begin("look", profile="verification")
    for what in LOOKS:
        assert (turn.status, turn.kind) == ("failed", "readonly"), (what, turn)
        turn = await talk.say(f"it was {what}; look again")
        assert (agent.dirty[-1], agent.files[-1]["a.txt"]) == ("", "a\n"), f"it begins clean after {what}"
    assert turn.status == "done", turn
    assert {given.profile for given in agent.handed} == {"verification"}
    assert talk.subjects() == []


async def test_what_a_looker_changed_is_kept_on_a_ref(scratch: ScratchRepo) -> None:
    talk = Talk(scratch, Agent(Script(files={"a.txt": b"z\n", "new.txt": b"n\n"})))
    turn = await talk.begin("look", profile="verification")
    assert [line for line in turn.findings if line.startswith("file ")] == ["file a.txt", "file new.txt"]
    assert scratch.show("refs/stratum/attempts/session-1/work/-step/1:new.txt") == "n"


async def test_who_only_looks_passes_and_lands_nothing(scratch: ScratchRepo) -> None:
    scratch.commit("ignores", {".gitignore": "*.o\n"})
    talk = Talk(scratch, Agent(Script(files={"cache.o": b"1"}, says="all is well", output={"ok": True})))
    turn = await talk.begin("look", profile="verification", schema={"required": ["ok"]})
    assert (turn.status, turn.output, turn.commit) == ("done", {"ok": True}, None)
    assert talk.subjects() == []


async def test_what_breaks_the_schema_is_refused(scratch: ScratchRepo) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    agent = Agent(Script(output={"n": "many"}), Script(output={"n": 3}))
    talk = Talk(scratch, agent)
    first = await talk.begin("count", schema=schema)
    assert (first.status, first.kind) == ("failed", "contract")
    assert '"type": "integer"' in agent.handed[0].intent
    assert agent.handed[0].schema == schema
    assert (await talk.say("a number")).output == {"n": 3}
