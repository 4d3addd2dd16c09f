"""The process that holds an agent is killed: nobody knows what the attempt would have come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from stratum_git.agents.base import Assignment, Finished, Outcome
from stratum_git.agents.supervise import HolderKilled
from tests.support.flows import Stage, dispatch_spec, words, writes


@dataclass
class Bereft:
    """An agent whose holder is killed in each of its first attempts; it leaves a file in all of them."""

    attempts: int
    name: str = "default"
    begun: int = 0

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        self.begun += 1
        (assignment.slot / "x.txt").write_text(f"{self.begun}\n")
        if self.begun <= self.attempts:
            raise HolderKilled(self.name)
        return Finished()

    def problem(self) -> str | None:
        return None


@pytest.mark.parametrize(("kills", "end", "begun"), [(2, "merged", 3), (9, "exhausted", 3)])
async def test_an_attempt_without_its_holder_is_lost_a_few_times(
    stage: Stage, kills: int, end: str, begun: int
) -> None:
    agent = Bereft(kills)
    spec = dispatch_spec(task_retries=0)
    state = await stage.play(spec, lambda _: writes("never"), [{"id": "x"}], [agent])
    assert (words(state), agent.begun) == ({"x": end}, begun)
    kept = f"refs/stratum/attempts/{state.flow}/build/x"
    assert [stage.scratch.show(f"{kept}/{attempt}:x.txt") for attempt in (1, 2)] == ["1", "2"]
