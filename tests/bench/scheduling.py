"""What the scheduler itself costs, measured; by hand: ``python -m tests.bench.scheduling``.

* Microseconds per engine event, with 100, 1,000 and 10,000 tasks.
* Milliseconds and peak memory of whole runs whose agents do nothing, per task: real slots, leases and
  commits, and the agent that starts no process; how the cost of a task grows from few tasks to most.
* The same with a real command as the agent.
* How late a task of one millisecond is woken in the loop of a run, while 64 real commands run and print; and
  how late in a loop that does nothing else, beside 64 such commands. What a step of the loop computes is
  told as well, which other work on the machine does not change.

Each run is a process of its own. Prints one object of JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.app import running
from stratum_git.app.running import Handle, RunRequest
from stratum_git.cli.progress import Plain
from stratum_git.dispatch.notices import Line, Notice, Recorded
from stratum_git.git.process import processes_started
from stratum_git.model.messages import TaskReported
from tests.support.flows import Stage, dispatch_spec
from tests.support.repos import ScratchRepo
from tests.support.wide import BASE, flat, layered, opening, reports

SIZES = (100, 1000, 10_000)
COMMANDS = (100, 1000)
PRINTERS = 64
SECONDS = 15.0
PRINTER = """\
import sys, time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    sys.stdout.write("a line of some forty characters, or so it is\\n" * 40)
    sys.stdout.flush()
    time.sleep(0.01)
"""
QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "bench@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
Figures = dict[str, float]


def measure(repository: Path, rounds: int = 1) -> dict[str, float]:
    """Returns the figures, medians of so many *rounds*; *repository* is cloned for each run."""
    found = [_engine_figures() | _run_figures(repository) | lag_figures(repository) for _ in range(rounds)]
    return {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}


def engine_us(count: int, shape: str, rounds: int = 3) -> float:
    """Returns the microseconds that the report of a task takes in the engine: the least of some runs."""
    best = float("inf")
    for _ in range(rounds):
        opened = opening((flat if shape == "flat" else layered)(count), BASE)[-1]
        gc.collect()
        began, events = time.perf_counter(), 0
        for _ in reports(opened, BASE):
            events += 1
        best = min(best, (time.perf_counter() - began) / events)
    return best * 1e6


def run_noop(repository: Path, count: int) -> Figures:
    """Runs a flow whose agent does nothing; returns what it took, in this process."""
    return _alone(repository, "noop", count)


def run_command(repository: Path, count: int) -> Figures:
    """Runs a flow whose agent is a real command that does nothing."""
    return _alone(repository, "command", count)


def lag_figures(repository: Path, seconds: float = SECONDS) -> Figures:
    """Returns how late tasks are woken in the loop of a run, and in an idle one, in milliseconds."""
    return _alone(repository, "lag", seconds) | _alone(repository, "idle", seconds)


def _engine_figures() -> Figures:
    found = {f"engine_{shape}_{n}_us": engine_us(n, shape) for shape in ("flat", "layered") for n in SIZES}
    grown = found[f"engine_flat_{SIZES[-1]}_us"] / found[f"engine_flat_{SIZES[0]}_us"]
    return found | {"engine_growth_ratio": grown}


def _run_figures(repository: Path) -> Figures:
    found: Figures = {}
    for kind, run, sizes in (("noop", run_noop, SIZES), ("command", run_command, COMMANDS)):
        for count, runs in _turns(sizes, lambda count, run=run: run(repository, count)).items():  # type: ignore[misc]
            one = {name: statistics.median(each[name] for each in runs) for name in runs[0]}
            found |= {f"{kind}_{count}_{name}": value for name, value in one.items()}
        for unit in ("task_ms", "task_cpu_ms"):
            few, many = (found[f"{kind}_{count}_{unit}"] for count in (sizes[0], sizes[-1]))
            found[f"{kind}_{unit}_growth_ratio"] = many / few
    return found


def _turns(sizes: Sequence[int], run: Callable[[int], Figures]) -> dict[int, list[Figures]]:
    """Returns the runs of each size: the shortest before, between and after the others.

    It is over in a second or two, and what the machine did in these would count as what ten thousand add.
    """
    found: dict[int, list[Figures]] = {size: [] for size in sizes}
    first, *others = sizes
    for count in (first, *(each for size in others for each in (size, first))):
        found[count].append(run(count))
    return found


def _alone(repository: Path, what: str, size: float) -> Figures:
    """Does one run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as scratch:
        place = Path(scratch) / "repo"
        subprocess.run(["git", "clone", "-q", str(repository), str(place)], check=True)
        words = [sys.executable, "-m", "tests.bench.scheduling", "--one", what, str(size), str(place)]
        environment = {**os.environ, **QUIET, "XDG_STATE_HOME": f"{scratch}/state"}
        done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE)
    told = json.loads(done.stdout)
    return {str(name): float(value) for name, value in told.items()}


# --- in the process of a run ------------------------------------------------------------------------------


def _noop(place: Path, count: int) -> Figures:
    stage = Stage(ScratchRepo(place), notices=_Deaf())

    async def main() -> str:
        state = await stage.play(dispatch_spec(max_concurrent=8), _nothing, flat(count))
        return state.status

    return _timed(count, lambda: trio.run(main))


def _command(place: Path, count: int) -> Figures:
    stage = Stage(ScratchRepo(place))

    async def main() -> str:
        request = RunRequest(dispatch_spec(max_concurrent=8), inputs={"tasks": flat(count)}, agents=(AGENT,))
        return (await running.run(stage.around, request, Plain(quiet=True), Handle())).status

    return _timed(count, lambda: trio.run(main))


AGENT = "default=true"


def _nothing(_: Assignment) -> Script:
    return Script()


class _Deaf(list[Notice]):
    """Remembers nothing of what it is told: the memory of a run is measured."""

    def append(self, notice: Notice) -> None:
        del notice


def _timed(count: int, run: Callable[[], str]) -> Figures:
    began, before = time.monotonic(), _used()
    status = run()
    seconds = time.monotonic() - began
    assert status == "complete", status
    # Without what it took to load the program.
    mine, children = (now - then for now, then in zip(_used(), before, strict=True))
    return {
        "task_ms": seconds / count * 1000,
        "task_cpu_ms": mine / count * 1000,
        "task_git_cpu_ms": children / count * 1000,
        "task_git_processes": processes_started() / count,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _used() -> tuple[float, float]:
    """Returns the seconds of processors that this process has used, and those that its children have."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    mine, children = (used.ru_utime + used.ru_stime for used in both)
    return mine, children


def _lag(place: Path, seconds: float) -> Figures:
    program = place.parent / "printer.py"
    program.write_text(PRINTER.format(seconds=seconds))
    stage, late, crowd = Stage(ScratchRepo(place)), list[float](), Crowd([])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat, late)
            crowd.late = late
            agent = f"default={sys.executable} -S {program}"
            spec = dispatch_spec(max_concurrent=PRINTERS)
            request = RunRequest(spec, inputs={"tasks": flat(PRINTERS)}, agents=(agent,))
            crowd.shown = Plain(out)
            await running.run(stage.around, request, crowd, Handle())
            nursery.cancel_scope.cancel()

    steps = Steps()
    with Path(os.devnull).open("w") as out:
        trio.run(main, instruments=[steps])
    return _percentiles("run", late) | _percentiles("all_at_work", crowd.within()) | steps.figures()


def _idle(place: Path, seconds: float) -> Figures:
    program = place.parent / "printer.py"
    program.write_text(PRINTER.format(seconds=seconds))
    late: list[float] = []
    words = [sys.executable, "-S", str(program)]
    printers = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(PRINTERS)]

    async def main() -> None:
        with trio.move_on_after(seconds):
            await heartbeat(late)

    trio.run(main)
    for printer in printers:
        printer.wait()
    return _percentiles("idle", late)


@dataclass
class Crowd:
    """Shows a run, and knows which beats came while all of its agents were at work and printed."""

    late: list[float]
    shown: Plain = field(default_factory=lambda: Plain(quiet=True))
    _heard: set[str | None] = field(default_factory=set)
    _from: int | None = None
    _until: int | None = None

    def __call__(self, notice: Notice) -> None:
        self.shown(notice)
        if isinstance(notice, Line):
            self._heard.add(notice.task)
            if self._from is None and len(self._heard) == PRINTERS:
                self._from = len(self.late)
        elif isinstance(notice, Recorded) and isinstance(notice.event, TaskReported) and self._until is None:
            self._until = len(self.late)

    def within(self) -> list[float]:
        """Returns the beats."""
        return self.late[self._from or 0 : self._until]


class Steps(trio.abc.Instrument):
    """What each step of a loop computes, by the clock of its thread."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self._begun = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self.spent.append((time.thread_time() - self._begun) * 1000)

    def figures(self) -> Figures:
        """Returns the milliseconds of the longest steps."""
        ranks = statistics.quantiles(self.spent, n=1000)
        return {
            "loop_step_p99_cpu_ms": ranks[989],
            "loop_step_p999_cpu_ms": ranks[998],
            "loop_step_max_cpu_ms": max(self.spent),
            "loop_cpu_s": sum(self.spent) / 1000,
        }


async def heartbeat(late: list[float]) -> None:
    """Sleeps a millisecond, time and again; notes by how many milliseconds it was woken too late."""
    while True:
        due = trio.current_time() + 0.001
        await trio.sleep_until(due)
        late.append((trio.current_time() - due) * 1000)


def _percentiles(of: str, late: Sequence[float]) -> Figures:
    ranks = statistics.quantiles(late, n=1000)
    # Whoever is late by 100 ms keeps all waiting who would have come in these: each moment counts the same.
    moments = sorted(late)
    total = sum(moments) + len(moments)
    share, p99 = 0.0, 0.0
    for one in moments:
        share += one + 1
        if share <= 0.99 * total:
            p99 = one
    return {
        f"lag_{of}_p50_ms": ranks[499],
        f"lag_{of}_p99_ms": ranks[989],
        f"lag_{of}_p999_ms": ranks[998],
        f"lag_{of}_by_time_p99_ms": p99,
        f"lag_{of}_max_ms": moments[-1],
        f"lag_{of}_beats": float(len(late)),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path, nargs="?", help="what to clone; else a small one is made")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "SIZE", "PLACE"), help="one run, in this process")
    options = parser.parse_args()
    if options.one is not None:
        what, size, place = options.one
        if what in {"lag", "idle"}:
            found = {"lag": _lag, "idle": _idle}[what](Path(place), float(size))
        else:
            found = {"noop": _noop, "command": _command}[what](Path(place), int(float(size)))
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as scratch:
        repository = options.repository
        if repository is None:
            repository = Path(scratch) / "small"
            os.environ.update(QUIET)
            ScratchRepo.make(repository).commit("first", {f"file{n}": f"{n}\n" for n in range(20)})
        print(json.dumps(measure(repository, options.rounds), indent=1))


if __name__ == "__main__":
    main()
