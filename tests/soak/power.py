"""Power cuts: what was acknowledged is on the disk, and whatever is on the disk can be gone on with.

A flow is done on a disk of which every write and flush is recorded. Then the power is cut at many of those
writes: each time the disk is put together as it was then, without a random part of what had not been
flushed. On it, git must find no fault; every event must be there that somebody had been told of by then;
and the flow must be taken up and come to the same end. As a control, with ``fsync`` doing nothing the same
cuts must lose events.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.client import Answer
from tests.support.disks import RecordedDisk, mounted, recorded, unable
from tests.support.recorded_disk import FLUSH, RECORD, crash_images
from tests.support.repos import ScratchRepo
from tests.support.shell import PROGRAM
from tests.support.stdio import Caller

MIB = 40
EXPECTED = {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"}

CLIENT_SPEC = """
version: "0.4"
contracts:
  Out: {ok: {type: boolean}}
functions:
  make: {mode: infer, intent: make it, output: Out, ensure: [result.ok], retries: 99}
  review: {mode: gate}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: first, function: make}
      - id: fan
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        task_retries: 9
        depends_on: [first]
      - {id: look, function: review, depends_on: [fan], on_approve: null, on_revise: fan, on_kill: null}
      - {id: last, function: make, depends_on: [look]}
"""
RUNNER_SPEC = """
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: fan
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        task_retries: 9
        max_concurrent: 2
      - id: after
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "{task.id}"
        depends_on: [fan]
"""
TASKS = [{"id": "one"}, {"id": "two"}, {"id": "three", "depends_on": ["one"]}, {"id": "four"}]
AGENT = """#!/bin/sh
[ $STRATUM_TASK-$STRATUM_ATTEMPT-$STRATUM_STEP = two-1-fan ] && exit 1
echo $STRATUM_STEP > $STRATUM_TASK.txt
echo $STRATUM_STEP >> all-$STRATUM_TASK.txt
git add . && git commit -q -m "by the agent"
mkdir -p new && echo $STRATUM_TASK > new/$STRATUM_TASK-$STRATUM_STEP
"""

NOTHING = "int fsync(int f){return 0;} int fdatasync(int f){return 0;} int sync_file_range(){return 0;}\n"
REBOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


@dataclass
class Machine:
    """A user with a repository on a disk. ``booted`` is a file with the id of its next boot."""

    place: Path
    booted: Path | None = None
    preload: Path | None = None

    @property
    def repo(self) -> ScratchRepo:
        """The repository."""
        return ScratchRepo(self.place / "repo")

    @property
    def before(self) -> tuple[str, ...]:
        """What stands before the program."""
        return () if self.booted is None else ("unshare", "-m", "sh", "-c", REBOOT, str(self.booted))

    @property
    def environment(self) -> dict[str, str]:
        """What the program is told."""
        home = self.place / "user"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "STRATUM_", "XDG_"))}
        told = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "GIT_CONFIG_NOSYSTEM": "1"}
        return {**kept, **told, **({} if self.preload is None else {"LD_PRELOAD": str(self.preload)})}

    def settle_in(self) -> None:
        """Makes the repository, the agent and the spec, and has them flushed."""
        home = self.place / "user"
        home.mkdir()
        repo = ScratchRepo.make(self.place / "repo")
        for key, value in (("user.name", "Tess Ter"), ("user.email", "tess@example.invalid")):
            repo.git("config", key, value)
        repo.commit("first", EXPECTED)
        (home / "agent").write_text(AGENT)
        (home / "agent").chmod(0o755)
        (home / "spec.yaml").write_text(RUNNER_SPEC)
        (home / "tasks.json").write_text(json.dumps(TASKS))
        os.sync()

    def program(self, *words: str) -> list[str]:
        """Returns the command of the program with the agent."""
        agent = f"--agent=default={self.place / 'user' / 'agent'}"
        return [*self.before, *PROGRAM, *words, agent]

    def served(self) -> Caller:
        """Starts a server."""
        return Caller(self.repo.path, self.environment, self.before)

    def flows(self) -> list[str]:
        """Returns the ids of the flows."""
        return self.repo.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/stratum/flows").split()


@dataclass(frozen=True)
class Told:
    """What somebody had been told by ``position`` of the disk: events of the flow, in order, and refs."""

    position: int
    subjects: tuple[str, ...]
    refs: tuple[str, ...] = ()


@dataclass
class Figures:
    """What came of the cuts."""

    cuts: int = 0
    lost: int = 0
    fsck_failures: int = 0
    unfinished: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost and every flow came to its end."""
        return not (self.lost or self.fsck_failures or self.unfinished)


@dataclass(frozen=True)
class Story:
    """A way to do a flow: to its end from nothing while noting what is told, and to its end from anywhere."""

    name: str
    play: Callable[[Machine, RecordedDisk], list[Told]]
    go_on: Callable[[Machine], None]


# --- a flow that a client does ----------------------------------------------------------------------------


def play_client(machine: Machine, disk: RecordedDisk) -> list[Told]:
    """Does a flow as a client, and notes after each answer what it says is so."""
    told: list[Told] = []

    def note() -> None:
        # At once: what is flushed after the answer came does not count.
        position = disk.position()
        told.append(Told(position, subjects(machine.repo), refs(machine.repo)))

    with machine.served() as server:
        said = server.call("stratum_plan", spec=CLIENT_SPEC, flow="main", inputs={"tasks": TASKS})
        note()
        for n in range(3):
            given = {"flow_id": said["flow_id"], "step_id": "first", "result": {"ok": False, "n": n}}
            server.call("stratum_step_done", **given)
            note()
        _obey(server, server.call("stratum_resume", flow_id=said["flow_id"]), note)
    return told


def go_on_client(machine: Machine) -> None:
    """Does what is left of the flow, as a client that knows nothing but its id."""
    with machine.served() as server:
        flows = machine.flows()
        said = (
            server.call("stratum_resume", flow_id=flows[0])
            if flows
            else server.call("stratum_plan", spec=CLIENT_SPEC, flow="main", inputs={"tasks": TASKS})
        )
        _obey(server, said, lambda: None)


def _obey(server: Caller, said: Answer, note: Callable[[], None]) -> None:
    flow = said.get("flow_id")
    while said["status"] != "complete":
        match said:
            case {"step_id": "fan", "batch": [one, *_]}:
                _work(Path(one["path"]), one["task_id"])
                rows = [{"task_id": one["task_id"], "status": "complete", "result": {}}]
                given = {"task_results": rows, "merge_status": "clean"}
                said = server.call("stratum_parallel_done", flow_id=flow, step_id="fan", **given)
            case {"status": "await_gate"}:
                given = {"outcome": "approve", "rationale": "good", "resolved_by": "human"}
                said = server.call("stratum_gate_resolve", flow_id=flow, step_id="look", **given)
            case {"step_id": "first" | "last" as step, "status": "execute_step" | "ensure_failed"}:
                said = server.call("stratum_step_done", flow_id=flow, step_id=step, result={"ok": True})
            case _:
                raise AssertionError(f"the client does not know what to do: {said}")
        note()


def _work(place: Path, task: str) -> None:
    (place / f"{task}.txt").write_text("by the client\n")
    (place / "new").mkdir(exist_ok=True)
    (place / "new" / task).write_text("x\n")
    # Two of them conflict, and what comes second is done again on top of the first.
    if task in {"two", "four"}:
        (place / "shared.txt").write_text(f"{task}\n")


# --- a flow that runs -------------------------------------------------------------------------------------


def play_runner(machine: Machine, disk: RecordedDisk) -> list[Told]:
    """Runs a flow, and notes each line that it prints of an event."""
    home, told, lines = machine.place / "user", [Told(0, ())], []
    words = ("run", str(home / "spec.yaml"), f"--input=tasks=@{home / 'tasks.json'}")
    with subprocess.Popen(
        machine.program(*words),
        cwd=machine.repo.path,
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.startswith(" "):
                lines.append(line.rstrip("\n"))
                told.append(Told(disk.position(), tuple(lines)))
    assert process.returncode == 0, lines
    told.append(Told(disk.position(), tuple(lines), refs(machine.repo)))
    return told


def go_on_runner(machine: Machine) -> None:
    """Resumes the flow, or begins it when the cut came first."""
    home, flows = machine.place / "user", machine.flows()
    words = ["run", str(home / "spec.yaml"), f"--input=tasks=@{home / 'tasks.json'}"]
    done = _asked(machine, *(["resume", *flows] if flows else words))
    over = "there is nothing to resume" in done.stderr
    assert done.returncode == 0 or over, done.stdout + done.stderr


STORIES = (
    Story("client", play_client, go_on_client),
    Story("runner", play_runner, go_on_runner),
)

# --- cuts, and what is looked at after them ---------------------------------------------------------------


def cut_power(
    story: Story, count: int, folder: Path, chance: random.Random, *, honest: bool = True
) -> Figures:
    """Does a flow on a recorded disk, cuts its power *count* times, and returns what came of it.

    Not *honest* is a machine on which ``fsync`` does nothing: only what was lost is counted then.
    """
    place, figures = folder / "disk-of-user", Figures()
    machine = Machine(place, preload=None if honest else _idle_fsync(folder))
    with recorded(folder, place, MIB) as disk:
        machine.settle_in()
        begin = disk.position()
        told = story.play(machine, disk)
        end = (final(machine.repo), disk.position())
    cuts = _cuts(disk.log, begin, [one.position for one in told], end[1], count, chance)
    for number, (cut, image) in enumerate(crash_images(disk.before, disk.log, cuts, folder, chance)):
        booted = folder / "boot"
        booted.write_text(f"00000000-0000-4000-8000-{number:012d}\n")
        figures.cuts += 1
        with mounted(image, place):
            after = Machine(place, booted=booted)
            known = [one for one in told if one.position <= cut]
            where = f"{story.name} {number} at {cut}"
            _look(after, known, figures, where)
            if honest:
                _finish(story, after, end[0], figures, where)
        print(f"{story.name}: {figures.cuts} of {len(cuts)} cuts", file=sys.stderr)
    return figures


def _look(machine: Machine, known: Sequence[Told], figures: Figures, where: str) -> None:
    missing = _missing(machine.repo, known)
    figures.lost += len(missing)
    figures.notes += [f"{where}: lost {one}" for one in missing]


def _fsck(machine: Machine, figures: Figures, where: str) -> None:
    fsck = subprocess.run(
        ["git", "fsck", "--full", "--strict", "--no-dangling"],
        cwd=machine.repo.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if fsck.returncode or fsck.stderr.strip():
        figures.fsck_failures += 1
        figures.notes.append(f"{where}: fsck {fsck.returncode}: {fsck.stdout}{fsck.stderr}")


def _missing(repo: ScratchRepo, known: Sequence[Told]) -> list[str]:
    """Returns what somebody had been told and is not there."""
    there = subjects(repo)
    wanted = known[-1].subjects if known else ()
    events = [subject for n, subject in enumerate(wanted) if there[n : n + 1] != (subject,)]
    moved = [row for row in (known[-1].refs if known else ()) if not _is_reached(repo, row)]
    return events + moved


def _is_reached(repo: ScratchRepo, row: str) -> bool:
    oid, ref = row.split(" ", 1)
    done = subprocess.run(
        ["git", "merge-base", "--is-ancestor", oid, ref], cwd=repo.path, capture_output=True, check=False
    )
    # All of it is there: commits, trees and files, and each is what its name says.
    whole = subprocess.run(
        ["git", "rev-list", "--objects", "--quiet", "--verify-objects", oid],
        cwd=repo.path, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == whole.returncode == 0


def _finish(story: Story, machine: Machine, end: str, figures: Figures, where: str) -> None:
    try:
        for words in (["query", "flow"], ["log"]):
            for flow in machine.flows():
                done = _asked(machine, *words, flow, plain=True)
                assert done.returncode == 0, done.stderr
        story.go_on(machine)
        assert final(machine.repo) == end, final(machine.repo)
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
        figures.unfinished += 1
        locks = [str(path) for path in machine.repo.path.rglob("*.lock")]
        told = machine.repo.git("log", "-3", "--format=%B", "--glob=refs/stratum/flows/*", check=False)
        figures.notes.append(f"{where}: {error}\nlocks: {locks}\n{told}")
        print(figures.notes[-1], file=sys.stderr)
    _fsck(machine, figures, where)


def _asked(machine: Machine, *words: str, plain: bool = False) -> subprocess.CompletedProcess[str]:
    command = [*machine.before, *PROGRAM, *words] if plain else machine.program(*words)
    return subprocess.run(
        command,
        cwd=machine.repo.path,
        env=machine.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def subjects(repo: ScratchRepo) -> tuple[str, ...]:
    """Returns the events of the only flow, oldest first."""
    with contextlib.suppress(AssertionError):
        said = repo.git("log", "--first-parent", "--reverse", "--format=%s", "--glob=refs/stratum/flows/*")
        return tuple(said.splitlines()[1:])
    return ()


def refs(repo: ScratchRepo) -> tuple[str, ...]:
    """Returns where the refs stand that are never moved back: commits that must stay reachable by name."""
    said = repo.git(
        "for-each-ref", "--format=%(objectname) %(refname)", "refs/stratum/flows", "refs/heads/main"
    )
    return tuple(said.splitlines())


def final(repo: ScratchRepo) -> str:
    """Returns what a flow comes to: what landed, of what it is made, and a checkout that is like it."""
    landed = sorted(repo.git("log", "--format=%s", "main").splitlines())
    left = repo.git("for-each-ref", "--format=%(refname:lstrip=5)", "refs/stratum/leases")
    files = [f"{name}: {repo.show(f'main:{name}')}" for name in repo.files("main")]
    return "\n".join([*files, *landed, repo.git("status", "--porcelain"), left])


def _cuts(
    log: Path, begin: int, told: Sequence[int], end: int, count: int, chance: random.Random
) -> list[int]:
    """Returns where to cut: as somebody is told, before and after flushes, and anywhere."""
    every, flushes = [], []
    with log.open("rb") as journal:
        at = 0
        while head := journal.read(RECORD.size):
            size = RECORD.unpack(head)[1]
            if size == FLUSH and begin < at < end:
                flushes += [at, at + RECORD.size]
            at += RECORD.size + (0 if size == FLUSH else size)
            journal.seek(at)
            every.append(at)
    kinds = [[n for n in told if n >= begin], flushes, [at for at in every if begin <= at <= end]]
    return sorted(chance.choice(kinds[n % 3] or kinds[0]) for n in range(count))


def _idle_fsync(folder: Path) -> Path:
    source, library = folder / "idle.c", folder / "idle.so"
    source.write_text(NOTHING)
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Gives a folder for images."""
    with tempfile.TemporaryDirectory(prefix="stratum-power-") as name:
        yield Path(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Cuts the power many times, prints figures, and returns 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="cuts, over all stories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--story", choices=[s.name for s in STORIES])
    options = parser.parse_args(arguments)
    if unable():
        print(f"no power cuts here: {unable()}", file=sys.stderr)
        return 1
    chance, began = random.Random(options.seed), time.monotonic()
    stories = [s for s in STORIES if options.story in {None, s.name}]
    every, control = Figures(), Figures()
    for story in stories:
        with workplace() as folder:
            found = cut_power(story, options.count // len(stories), folder, chance)
        with workplace() as folder:
            idle = cut_power(story, max(3, options.count // 10), folder, chance, honest=False)
        for total, part in ((every, found), (control, idle)):
            total.cuts += part.cuts
            total.lost += part.lost
            total.fsck_failures += part.fsck_failures
            total.unfinished += part.unfinished
    row = {
        "what": "power cuts",
        "cuts": every.cuts,
        "lost": every.lost,
        "fsck_failures": every.fsck_failures,
        "unfinished": every.unfinished,
        "control_cuts_without_fsync": control.cuts,
        "control_lost_without_fsync": control.lost,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(row))
    return 0 if every.is_well and control.lost else 1


if __name__ == "__main__":
    sys.exit(main())
