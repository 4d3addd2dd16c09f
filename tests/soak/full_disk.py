"""Disks that fill up or turn read-only, limits, gits that are killed: told clearly, and gone on from.

Each round runs a flow, gets in its way at a random moment, and looks at how the program ended: with an exit
code that says so, words, a hint, and no traceback. Then the obstacle is taken away, and ``resume`` has to
bring the flow to the end that it has without one, with nothing half-made left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.power import Machine, final, workplace
from tests.support.disks import make_image, mounted, remount, unable

MIB = 40
Obstacle = Callable[["Round"], None]
"""Is there until the round is ``over``, from a random moment on."""


@dataclass
class Round:
    """One run, and what is to get in its way."""

    machine: Machine
    folder: Path
    chance: random.Random
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def places(self) -> tuple[Path, ...]:
        """Where disks are mounted: all of it, the state folder, the folder for temporary files."""
        return self.machine.place, self.machine.place / "user" / "state", self.machine.place / "tmp"

    def wait(self, longest: float = 2.5) -> None:
        """Waits for a random time, or until the round is over."""
        self.over.wait(self.chance.uniform(0, longest))


@dataclass
class Figures:
    """What came of the rounds."""

    rounds: int = 0
    obstructed: int = 0
    bad_endings: int = 0
    not_resumed: int = 0
    fsck_failures: int = 0
    left_behind: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether every ending was clear, and every flow was brought to its end."""
        return not (self.bad_endings or self.not_resumed or self.fsck_failures or self.left_behind)


# --- what gets in the way ---------------------------------------------------------------------------------


def full(number: int) -> Obstacle:
    """Returns what fills one of the disks."""

    def fills(now: Round) -> None:
        now.wait()
        ballast = now.places[number] / "ballast"
        fill(ballast, now.chance.choice((0, 4096, 65536, 300_000)))
        now.over.wait()
        ballast.unlink(missing_ok=True)

    return fills


def fill(ballast: Path, room: int = 0) -> None:
    """Writes a file until the disk is full, but for *room* bytes."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
        if room:
            file.truncate(max(0, file.tell() - room))


def read_only(now: Round) -> None:
    """Turns the disk read-only, as soon as nobody has a file open for writing."""
    now.wait()
    while not now.over.is_set():
        with suppress(subprocess.CalledProcessError):
            remount(now.places[0], "ro")
            break
    now.over.wait()
    remount(now.places[0], "rw")


def killed_gits(now: Round) -> None:
    """Kills gits that work on the repository, now and then, without a warning."""
    while not now.over.is_set():
        now.wait(0.4)
        found = [pid for pid in _gits(now.machine.place) if pid != os.getpid()]
        if found:
            with suppress(ProcessLookupError):
                os.kill(now.chance.choice(found), signal.SIGKILL)


def nothing(now: Round) -> None:
    """Does nothing: what is in the way was there before."""
    now.over.wait()


def _gits(place: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = (process / "comm").read_text().strip() == "git"
            if named and (process / "cwd").readlink().is_relative_to(place):
                yield int(process.name)


@dataclass(frozen=True)
class Case:
    """A name, what gets in the way, and the largest file that the program may write, if there is one."""

    name: str
    obstacle: Obstacle
    largest: int | None = None


CASES = (
    Case("full", full(0)),
    Case("state full", full(1)),
    Case("tmp full", full(2)),
    Case("read-only", read_only),
    Case("killed gits", killed_gits),
    Case("file limit", nothing, 500),
)

# --- rounds -----------------------------------------------------------------------------------------------


def obstruct(case: Case, count: int, folder: Path, chance: random.Random) -> Figures:
    """Runs *count* flows with *case* in their way."""
    figures = Figures()
    with _disks(folder / "undisturbed") as machine:
        expected = _undisturbed(machine)
    for number in range(count):
        # A loop device lets go of its image when it likes: each has one of its own.
        with _disks(folder / str(number)) as machine:
            now = Round(machine, folder, chance)
            where = f"{case.name} {number}"
            done = _disturbed(now, case)
            figures.rounds += 1
            figures.obstructed += done.returncode == 3
            _judge_ending(done, figures, where)
            _judge_end(machine, expected, figures, where)
        print(f"{where}: {done.returncode}", file=sys.stderr)
    return figures


@contextmanager
def _disks(folder: Path) -> Iterator[Machine]:
    """Gives a user with a repository on a new disk, with disks of their own for state and temporary files."""
    folder.mkdir()
    machine = Machine(folder.parent / "disk-of-user")
    with ExitStack() as stack:
        stack.enter_context(mounted(make_image(folder / "user.img", MIB), machine.place))
        machine.settle_in()
        for name, where in (("state", "user/state"), ("tmp", "tmp")):
            image = make_image(folder / f"{name}.img", MIB // 2)
            stack.enter_context(mounted(image, machine.place / where))
        yield machine


def _words(machine: Machine) -> list[str]:
    home = machine.place / "user"
    return ["run", str(home / "spec.yaml"), f"--input=tasks=@{home / 'tasks.json'}"]


def _undisturbed(machine: Machine) -> str:
    done = _ran(machine, _words(machine))
    assert done.returncode == 0, done.stderr
    return final(machine.repo)


def _disturbed(now: Round, case: Case) -> subprocess.CompletedProcess[str]:
    thread = threading.Thread(target=case.obstacle, args=(now,))
    thread.start()
    try:
        return _ran(now.machine, _words(now.machine), case.largest)
    finally:
        now.over.set()
        thread.join()


def _ran(
    machine: Machine, words: Sequence[str], largest: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    environment: Mapping[str, str] = {**machine.environment, "TMPDIR": str(machine.place / "tmp")}
    return subprocess.run(
        machine.program(*words),
        cwd=machine.repo.path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=limit,
    )


def _judge_ending(done: subprocess.CompletedProcess[str], figures: Figures, where: str) -> None:
    """Notes an ending that is no answer: 0 and 1 are, and 3 with a sentence and what to do."""
    said = done.stderr
    told = done.returncode in {0, 1} or (done.returncode == 3 and "error: " in said and "hint: " in said)
    if not told or "Traceback" in said:
        figures.bad_endings += 1
        figures.notes.append(f"{where}: ended with {done.returncode}:\n{said[-3000:]}")


def _judge_end(machine: Machine, expected: str, figures: Figures, where: str) -> None:
    flows = machine.flows()
    said = ""
    for _ in range(2):
        words = ["resume", *flows] if flows else _words(machine)
        done = _ran(machine, words)
        said = f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        if final(machine.repo) == expected:
            break
    else:
        figures.not_resumed += 1
        figures.notes.append(f"{where}: not resumed: {said}\n{final(machine.repo)}")
    _judge_repository(machine, figures, where)


def _judge_repository(machine: Machine, figures: Figures, where: str) -> None:
    fsck = subprocess.run(
        ["git", "fsck", "--full", "--strict", "--no-dangling"],
        cwd=machine.repo.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if fsck.returncode or fsck.stderr.strip():
        figures.fsck_failures += 1
        figures.notes.append(f"{where}: fsck: {fsck.stdout}{fsck.stderr}")
    left = [str(p) for p in (machine.repo.path / ".git").rglob("*.lock") if p.name != "moving"]
    # Beside the record of an idle slot lies the one before.
    fresh = (machine.place / "user" / "state").rglob("*.new")
    left += [str(p) for p in fresh if not p.with_suffix(".json").exists()]
    if left:
        figures.left_behind += 1
        figures.notes.append(f"{where}: left behind: {left}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Gets in the way many times, prints figures, and returns 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="rounds, over all cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", choices=[case.name for case in CASES])
    options = parser.parse_args(arguments)
    if unable():
        print(f"no disks of our own here: {unable()}", file=sys.stderr)
        return 1
    chance, began, total = random.Random(options.seed), time.monotonic(), Figures()
    cases = [case for case in CASES if options.case in {None, case.name}]
    for case in cases:
        with workplace() as folder:
            found = obstruct(case, max(1, options.count // len(cases)), folder, chance)
        for name in ("rounds", "obstructed", "bad_endings", "not_resumed", "fsck_failures", "left_behind"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        for note in found.notes:
            print(note, file=sys.stderr)
    row = {name: value for name, value in vars(total).items() if name != "notes"}
    print(json.dumps({"what": "disks", **row, "seconds": round(time.monotonic() - began, 1)}))
    return 0 if total.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
