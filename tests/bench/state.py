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
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
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
from stratum_git.git.objects import ObjectWriter, Signature, read_tree
from stratum_git.git.pack_writer import PackWriter
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.model.effects import Effect
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Completed, Event, Opened, Started, TaskReported
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry, FlowLog, Stored
from stratum_git.store.listing import list_flows, list_open

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
            # Else it would be beside a thread that makes files for the next transition.
            flow.journal.log.wait()
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


def finish(repo: Repository, many: int, stack: ExitStack) -> None:
    """Adds flows that are over to a repository: copies of one, packed as they are after a while."""
    pattern = Flow(repo, f"pattern-{many}", 3, stack)
    tip = pattern.journal.stored.tip
    state = json.loads(repo.git.run("cat-file", "blob", f"{tip}:state.json").stdout)
    files = {path: (entry.mode, entry.oid) for path, entry in read_tree(repo, tip).items() if "/" not in path}
    writer, updates = PackWriter(repo, durable=False), []
    for number in range(many):
        row = {**state, "status": "complete", "flow": f"old-{many}-{number}", "started": float(number)}
        files["state.json"] = ("100644", writer.blob(json.dumps(row).encode()))
        root = writer.commit(writer.tree(files), (), f"Flow {number}\n", ME, ME)
        updates.append(RefUpdate(RefName(f"refs/stratum/flows/old-{many}-{number}"), root, None))
    writer.sync()
    transact(repo, updates, message="bench")
    repo.git.run("pack-refs", "--all")


def listing(repository: Path, sizes: Sequence[int], rounds: int) -> dict[str, float]:
    """Returns how long it takes to look, in repositories with so many flows that are over."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=repository.parent, prefix="state-") as scratch, ExitStack() as stack:
        for size in sizes:
            repo = _scratch(Path(scratch) / str(size))
            finish(repo, size, stack)
            live = Flow(repo, "live", 4 * rounds + 64, stack)
            found[f"list_all_first_{size}_ms"] = _timed(partial(list_flows, repo)) * 1000
            looks: dict[str, Callable[[], object]] = {
                "list_all": partial(list_flows, repo),
                "list_open": partial(list_open, repo),
                "query_flows": partial(_run, repo, "query", "flows"),
                "query_gates": partial(_run, repo, "query", "gates"),
                "query_flow": partial(_run, repo, "query", "flow", "live"),
                "log": partial(_run, repo, "log", "live"),
            }
            times: dict[str, list[float]] = {name: [] for name in (*looks, "transition")}
            for _ in range(rounds):
                for name, look in looks.items():
                    times[name].append(_timed(look))
                times["transition"].append(_timed(partial(live.append, live.decided(live.report()))))
            found |= {f"{name}_{size}_ms": statistics.median(took) * 1000 for name, took in times.items()}
    return found


def _run(repo: Repository, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "stratum_git", *words], cwd=repo.root, check=True, capture_output=True
    )


def _program() -> Program:
    loaded = load_spec(SPEC)
    made = None if loaded.spec is None else compile_program(loaded.spec, None)
    if not isinstance(made, Program):
        raise SystemExit("the spec of the benchmark is not one")
    return made


def _scratch(folder: Path) -> Repository:
    place = folder / "repo"
    place.mkdir(parents=True)
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
    parser.add_argument("--flows", type=int, nargs="*", default=[10, 1000, 10000], help="flows that are over")
    options = parser.parse_args()
    found = measure(options.repository, options.rounds)
    if options.flows:
        found |= listing(options.repository, options.flows, max(3, options.rounds // 10))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
