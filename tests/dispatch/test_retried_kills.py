"""Killed while an attempt waits for room, and between a rejection and the retry that goes on with it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.app import running
from stratum_git.app.workshop import make_context, signature
from stratum_git.dispatch.journal import Journal
from stratum_git.model.ids import FlowId
from stratum_git.model.messages import Resumed
from stratum_git.model.state import FlowState, Merged
from stratum_git.store.flows import FlowLog, load
from tests.support.flows import Play, Stage, dispatch_spec, fan
from tests.support.repos import ScratchRepo

SPEC = dispatch_spec(task_retries=1, verify=["test -f good.txt"]).replace(
    "    input:", "    budget: {dispatches: 3}\n    input:"
)
VICTIM = """
import os, sys, trio
from pathlib import Path
from stratum_git.agents.scripted import Script
from tests.dispatch.test_retried_kills import SPEC
from tests.support.flows import Stage
from tests.support.repos import ScratchRepo
from stratum_git.dispatch.notices import Remark

how, stage = sys.argv[2], Stage(ScratchRepo(Path(sys.argv[1])))

def play(assignment):
    usage = {"session_id": "s", "usd": 0.25}
    if how == "waiting":
        return Script(files={"half.txt": b"1"}, limited="429", after=60.0, usage=usage)
    if assignment.attempt == 1:
        return Script(files={"half.txt": b"1"}, usage=usage)
    print(assignment.session, (assignment.slot / "half.txt").exists(), flush=True)
    return Script(seconds=60)

class Watch(list):
    def append(self, notice):
        if isinstance(notice, Remark):
            print(notice.text, flush=True)

stage.notices = Watch()
trio.run(stage.play, SPEC, play, [{"id": "one"}])
"""


def killed(scratch: ScratchRepo, how: str) -> str:
    """Runs a flow in a process of its own until it has said something, kills it, and returns what it said."""
    words = [sys.executable, "-c", VICTIM, str(scratch.path), how]
    with subprocess.Popen(words, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        said = victim.stdout.readline()
        victim.kill()
    return said


async def taken_up(stage: Stage, play: Play) -> FlowState:
    """Takes up the only flow, as ``resume`` does, with a scripted agent."""
    name = stage.scratch.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/stratum/flows").strip()
    repo = stage.around.repository()
    agents = {"default": ScriptedAgent("default", play)}
    context = dataclasses.replace(make_context(stage.around, repo, ()), agents=agents)
    stored, spec = load(repo, FlowId(name))
    with FlowLog(repo, context.writer, signature(repo), spec) as log, closing(context):
        journal, first = Journal(repo, log, stored), (Resumed(1.0, "me"),)
        return await running._take_up(context, journal, stage.notices.append, stage.handle, first)


@pytest.mark.parametrize(
    ("how", "said"),
    [("waiting", "default: the model's server has no room (429): again in "), ("between", "s True")],
)
async def test_a_kill_costs_a_dispatch_and_no_work(scratch: ScratchRepo, how: str, said: str) -> None:
    assert (await trio.to_thread.run_sync(killed, scratch, how)).startswith(said)
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        handed.append(assignment)
        assert not (assignment.slot / "half.txt").exists()
        return Script(files={"good.txt": b"1"})

    state = await taken_up(Stage(scratch), play)
    now = fan(state).tasks[0]
    assert isinstance(now, Merged)
    assert state.spent.total.dispatches == (2 if how == "waiting" else 3)
    assert [a.session for a in handed] == [None]
    left = scratch.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts").split()
    assert {scratch.show(f"{ref}:half.txt") for ref in left} == {"1"}
    assert len(left) == (1 if how == "waiting" else 2)
