"""A flow of which everything is verified and nothing has landed: what a landing costs is all that is left.

The results are commits that git made, and the events are those that a run would have recorded. What lands
them is the driver of a run.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.app import running
from stratum_git.app.running import Handle, RunRequest
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context, signature
from stratum_git.core.engine import advance, begin
from stratum_git.dispatch.driver import Driver
from stratum_git.dispatch.journal import Journal
from stratum_git.dispatch.publishing import result_updates
from stratum_git.model.effects import Effect
from stratum_git.model.ids import Json, Oid, StepId, TaskId
from stratum_git.model.messages import Completed, Event, Opened, TaskReported
from stratum_git.model.state import FlowState
from stratum_git.store.flows import Entry, FlowLog, Stored
from tests.support.flows import dispatch_spec
from tests.support.repos import ScratchRepo

STEP = StepId("build")
Edit = bytes | None
"""What a result puts at a path; ``None`` takes the file away."""


@dataclass
class Ready:
    """A driver whose next effect is a landing."""

    driver: Driver
    effects: tuple[Effect, ...]

    async def land(self) -> FlowState:
        """Lands what is verified, as a run does it."""
        with self.driver.journal.log, closing(self.driver.context):
            return await self.driver.drive(self.effects)


def made_results(place: Path, base: str, results: Sequence[Mapping[str, Edit]], prefix: str) -> list[Oid]:
    """Makes a commit on *base* for each result, with git itself; they are the branches PREFIX0, 1, ..."""
    told: list[bytes] = []
    for number, edits in enumerate(results):
        told.append(
            f"reset refs/heads/{prefix}{number}\ncommit refs/heads/{prefix}{number}\n"
            f"committer T <t@x> 1700000000 +0000\ndata 6\nresult\nfrom {base}\n".encode()
        )
        for path, data in edits.items():
            quoted = path.encode("utf-8", "surrogateescape")
            row = b"M 100644 inline %b\ndata %d\n%b\n"
            told.append(b"D %b\n" % quoted if data is None else row % (quoted, len(data), data))
    subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=place, input=b"".join(told), check=True)
    names = [f"{prefix}{number}\n" for number in range(len(results))]
    out = subprocess.run(
        ["git", "cat-file", "--batch-check=%(objectname)"],
        cwd=place, input="".join(names).encode(), check=True, capture_output=True,
    )  # fmt: skip
    return [Oid(row) for row in out.stdout.decode().split()]


def ready(scratch: ScratchRepo, base: str, results: Sequence[Oid], **options: object) -> Ready:
    """Returns what lands *results*, each a change of *base*, on the branch that is checked out."""
    around = Surroundings(scratch.path, dict(os.environ))
    repo = around.repository()
    spec = dispatch_spec(max_concurrent=len(results), **options)
    program = running.check_spec(spec, None)
    names = [TaskId(f"t{number}") for number in range(len(results))]
    inputs: dict[str, Json] = {"tasks": [{"id": str(name)} for name in names]}
    context = make_context(around, repo, ())
    context = dataclasses.replace(
        context, radar=None, agents={"default": ScriptedAgent("default", lambda _: Script())}
    )
    begun = running.started(repo, program, inputs, RunRequest(spec))
    at, by, start = begun.at, begun.by, Oid(base)
    events: list[Event] = [Opened(at, by, STEP, start, begun.target)]
    for name, result in zip(names, results, strict=True):
        events.append(TaskReported(at, by, STEP, name, 1, Completed(start, result)))
    state, effects = begin(program, begun)
    entries = [Entry(begun, state, effects)]
    for event in events:
        state, effects = advance(state, event)
        entries.append(Entry(event, state, effects))
    log = FlowLog(repo, context.writer, signature(repo), spec)
    # The history in one: it is not what is looked at here.
    stored = log.append(begun.flow, None, entries[-1:], result_updates(repo, begun.flow, events))
    assert isinstance(stored, Stored)
    driver = running._driver(context, Journal(repo, log, stored), lambda _: None, Handle())
    return Ready(driver, entries[-1].effects)
