"""What lands was tested, and what was tested lands; the target only ever points at what passed."""

from __future__ import annotations

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.ids import Json
from stratum_git.model.messages import Landed
from stratum_git.model.state import Exhausted
from tests.support.flows import Stage, dispatch_spec, fan, words, writes

GREEN = "! test -e bad.txt"


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def own_file(assignment: Assignment) -> Script:
    return writes(f"{assignment.task}.txt", f"{assignment.task}\n")


def landing(stage: Stage) -> Landed:
    events = [n.event for n in stage.notices if isinstance(n, Recorded)]
    return next(e for e in reversed(events) if isinstance(e, Landed))


async def test_the_culprit_is_left_out_and_the_others_land(stage: Stage) -> None:
    spec = dispatch_spec(land_verify=f'"{GREEN}"', require=2, on_quorum="keep", max_concurrent=4)
    state = await stage.play(spec, own_file, ids("one", "bad", "three"))

    assert state.status == "complete", state
    assert words(state) == {"one": "merged", "bad": "exhausted", "three": "merged"}
    left = fan(state).tasks[1]
    assert isinstance(left, Exhausted)
    assert (left.kind, left.findings) == ("land_verify", (f"`{GREEN}` exited with 1",))
    event = landing(stage)
    print(event.proofs)
    assert [proof.verdict for proof in event.proofs] == ["fail", "pass", "pass"]
    assert event.proofs[-1].commit == stage.scratch.head() == event.new
