"""What it costs to record, measured; by hand: ``python -m tests.bench.state``.

Prints one object. A *transition* is what the store writes for the report of one task and has flushed before
it answers; beside it, in turn, a file of two kilobytes that is made and flushed: what the disk can do.
Thirty-two reports, with their leases and branches, are recorded one after the other and all at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

from stratum_git.agents.identity import own_identity
from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.dispatch.journal import Journal, Written
from stratum_git.dispatch.leasing import Leases
from stratum_git.dispatch.publishing import result_updates
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import RefUpdate
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.model.effects import Effect
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Completed, Event, Opened, Started, TaskReported
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry, FlowLog, Stored

ME = Signature("Bench", "bench@x", 0.0)
BUILD = StepId("build")
CROWD = 32
SPEC = """
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 32
"""


class Flow:
    """A flow of *tasks* tasks at its first step, in a repository."""

    def __init__(self, repo: Repository, name: str, tasks: int, stack: ExitStack) -> None:
        self.repo, self.flow = repo, FlowId(name)
        self.writer = ObjectWriter(repo, durable=True)
        log = stack.enter_context(FlowLog(repo, self.writer, ME, SPEC))
        self.leases = Leases(log.writer, self.flow, "bench", own_identity(), 3600.0)
        self.updates: list[RefUpdate] = []
        self.base = head_of(repo).oid
        inputs = {"tasks": [{"id": f"t{n}"} for n in range(tasks)]}
        event = Started(1.0, "bench", self.flow, "main", inputs, self.base, RefName("refs/heads/main"))  # type: ignore[arg-type]
        state, effects = begin(_program(), event)
        stored = log.append(self.flow, None, [Entry(event, state, effects)])
        if not isinstance(stored, Stored):
            raise SystemExit(f"there is a flow {name} already")
        self.journal = Journal(repo, log, stored)
        self.tree = repo.git.line("rev-parse", f"{self.base}^{{tree}}")
        self._record([Opened(2.0, "stratum-git", BUILD, self.base, RefName("refs/heads/main"))])
        self._left = count()

    def report(self, many: int = 1) -> list[Event]:
        """Returns reports of tasks, whose results are in the repository."""
        results = []
        for number in (next(self._left) for _ in range(many)):
            result = self.writer.commit(Oid(self.tree), (self.base,), f"t{number}\n", ME, ME)
            outcome = Completed(self.base, result, {"n": number})
            results.append(TaskReported(3.0, "agent a", BUILD, TaskId(f"t{number}"), 1, outcome))
        self.writer.sync()
        return [*results]

    def record(self, events: list[Event]) -> None:
        """Records them as a run does, with leases and branches."""
        self._record(events)

    def record_each(self, reports: list[list[Event]]) -> None:
        """Records one after the other."""
        for events in reports:
            self._record(events)

    def decided(self, events: list[Event]) -> list[Entry]:
        """Returns what the engine makes of them."""
        state, entries = self.journal.state, []
        for event in events:
            state, effects = advance(state, event)
            entries.append(Entry(event, state, effects))
        return entries

    def append(self, entries: list[Entry]) -> None:
        """Records them with nothing besides."""
        journal = self.journal
        stored = journal.log.append(self.flow, journal.stored.tip, entries)
        if not isinstance(stored, Stored):
            raise SystemExit(f"{stored}")
        journal.stored = stored

    def _record(self, events: list[Event]) -> None:
        written = self.journal.record(events, partial(self._extra, events))
        if not isinstance(written, Written):
            raise SystemExit(f"{written}")
        self.leases.note(self.updates)

    def _extra(self, events: list[Event], after: FlowState, effects: tuple[Effect, ...]) -> list[RefUpdate]:
        del after
        leases = self.leases.updates(events, effects)
        self.updates = [*leases, *result_updates(self.repo, self.flow, events)]
        return self.updates


def measure(repository: Path, rounds: int) -> dict[str, float]:
    """Returns medians and ratios; works in a repository of its own beside *repository*."""
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix="state-") as scratch, ExitStack() as stack:
        repo = _scratch(Path(scratch))
        flow = Flow(repo, "one", 4 * rounds + 64, stack)
        floor = _floor(Path(scratch) / "floor")
        files, transitions = [], []
        for _ in range(rounds):
            files.append(_timed(floor))
            entries = flow.decided(flow.report())
            transitions.append(_timed(partial(flow.append, entries)))
        alone, together = [], []
        for number in range(max(1, rounds // 10)):
            crowd = Flow(repo, f"crowd-{number}", 2 * CROWD, stack)
            one_by_one, at_once = [crowd.report() for _ in range(CROWD)], crowd.report(CROWD)
            alone.append(_timed(partial(crowd.record_each, one_by_one)))
            together.append(_timed(partial(crowd.record, at_once)))
    file, transition = statistics.median(files), statistics.median(transitions)
    return {
        "file_ms": file * 1000,
        "transition_ms": transition * 1000,
        "transition_per_file": transition / file,
        "alone_32_ms": statistics.median(alone) * 1000,
        "together_32_ms": statistics.median(together) * 1000,
        "together_rate": statistics.median(a / b for a, b in zip(alone, together, strict=True)),
    }


def _program() -> Program:
    loaded = load_spec(SPEC)
    made = None if loaded.spec is None else compile_program(loaded.spec, None)
    if not isinstance(made, Program):
        raise SystemExit("the spec of the benchmark is not one")
    return made


def _scratch(folder: Path) -> Repository:
    place = folder / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", place], check=True)
    who = ("-c", "user.name=b", "-c", "user.email=b@x")
    subprocess.run(["git", "-C", place, *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    return open_repository(place)


def _floor(folder: Path) -> Callable[[], None]:
    folder.mkdir()
    numbers = count()
    data = os.urandom(2000)

    def make() -> None:
        handle = os.open(folder / str(next(numbers)), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        os.write(handle, data)
        os.fsync(handle)
        os.close(handle)

    return make


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--repository", type=Path, default=Path.cwd())
    options = parser.parse_args()
    print(json.dumps(measure(options.repository, options.rounds), indent=1))


if __name__ == "__main__":
    main()
