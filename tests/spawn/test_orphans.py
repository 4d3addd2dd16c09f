"""What processes that are gone had started is found and seen out; what is anybody else's is spared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.spawn.orphans import ATTEMPT, HELPER, end_orphans, environment_of, mark_of, own_mark
from tests.support.programs import is_running, wait_until_gone

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)
MARKING = (
    "from stratum_git.spawn.orphans import *; import sys; "
    "print(mark_of(Path(sys.argv[1])), own_mark(), sep='\\n')"
)


class Orphanage:
    """Starts processes with marks, and knows the marks of a process that is gone."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.log = folder / "attempts/flow/step/task/1/output.log"
        self.place = folder / "slot"
        self.place.mkdir()
        self._stack = stack
        words = [sys.executable, "-c", MARKING, str(self.log)]
        said = subprocess.run(
            words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
        )
        self.attempt, self.owner = said.stdout.splitlines()

    def start(self, *words: str, **marks: str) -> int:
        """Starts a program in the place; it has a session of its own, and is there when this returns."""
        process = subprocess.Popen(
            words or (sys.executable, "-c", STUBBORN),
            cwd=self.place,
            env={"PATH": os.environ["PATH"], **marks},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        self.said = process.stdout.readline()
        return process.pid

    def end(self, patience: float = 10.0, flow: str = "flow") -> None:
        end_orphans(self.log.parents[4] / flow, (self.place,), patience)


@pytest.fixture
def orphanage(tmp_path: Path) -> Iterator[Orphanage]:
    with ExitStack() as stack:
        yield Orphanage(tmp_path, stack)


def test_what_a_dead_process_had_started_for_an_attempt_is_ended(orphanage: Orphanage) -> None:
    stubborn = orphanage.start(**{ATTEMPT: orphanage.attempt})
    # It sheds its environment, and stays in the session of whoever had the mark.
    script = "env -i sleep 60 & echo $!; wait"
    leader = orphanage.start("sh", "-c", script, **{ATTEMPT: orphanage.attempt})
    bare = int(orphanage.said)
    orphanage.end()
    assert not any(map(is_running, (stubborn, leader, bare)))


@pytest.mark.parametrize("whose", ["live", "elsewhere", "another flow", "nobody", "damaged"])
def test_what_is_anybody_elses_is_spared(orphanage: Orphanage, whose: str) -> None:
    owner = orphanage.owner
    marks = {
        "live": {ATTEMPT: mark_of(orphanage.log), HELPER: own_mark()},
        # The same numbers in another namespace of processes, or of another boot, say nothing here.
        "elsewhere": {ATTEMPT: orphanage.attempt.replace(owner, f"{owner}1"), HELPER: f"{owner}1"},
        "another flow": {ATTEMPT: orphanage.attempt.replace("/flow/", "/flow-2/")},
        "nobody": {},
        "damaged": {ATTEMPT: f"x ..  {orphanage.log}", HELPER: "x"},
    }[whose]
    pid = orphanage.start(**marks)
    orphanage.end()
    assert is_running(pid)


def test_the_same_number_by_another_process_is_no_owner(orphanage: Orphanage) -> None:
    number, start, where = orphanage.owner.split(".", 2)
    taken = f"{os.getpid()}.{start}.{where}"
    pid = orphanage.start(**{ATTEMPT: orphanage.attempt.replace(orphanage.owner, taken)})
    assert number != str(os.getpid())
    orphanage.end()
    assert not is_running(pid)


def test_a_session_that_others_lead_is_not_an_attempts(orphanage: Orphanage) -> None:
    marked = f"{ATTEMPT}='{orphanage.attempt}' sh -c 'echo $$; exec sleep 60'"
    script = f"{marked} & wait; sleep 60"
    leader = orphanage.start("sh", "-c", script)
    orphanage.end()
    assert (is_running(int(orphanage.said)), is_running(leader)) == (False, True)


def test_a_helper_is_waited_for_and_not_ended(orphanage: Orphanage) -> None:
    done = orphanage.place / "done"
    orphanage.start("sh", "-c", f"echo here; sleep 0.3; touch {done}", **{HELPER: orphanage.owner})
    elsewhere = orphanage.start("sh", "-c", "cd /; echo here; exec sleep 60", **{HELPER: orphanage.owner})
    orphanage.end()
    assert done.exists()
    assert is_running(elsewhere)


def test_what_does_not_end_is_told_with_its_number(orphanage: Orphanage) -> None:
    pid = orphanage.start(**{HELPER: orphanage.owner})
    began = time.monotonic()
    with pytest.raises(HostError, match=f"do not end: {pid}"):
        orphanage.end(patience=0.1)
    assert time.monotonic() - began < 5
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)


def test_a_process_that_becomes_another_program_is_known_by_its_environment() -> None:
    again = 'exec "$0" -c "$1" "$0" "$1"'
    words, marked = ("/bin/sh", "-c", again, "/bin/sh", again), {"STRATUM_SOUGHT": "yes"}
    with subprocess.Popen(words, env=marked) as process:
        try:
            seen = {b"STRATUM_SOUGHT=yes" in environment_of(process.pid) for _ in range(3000)}
        finally:
            process.kill()
    assert seen == {True}
    assert environment_of(process.pid) == []
