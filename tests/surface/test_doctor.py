"""What the doctor finds in a repository, and in what was left behind: each finding is made to happen."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from stratum_git.agents.brief import hear
from stratum_git.agents.identity import ProcessIdentity, own_identity
from stratum_git.app.config import read_config
from stratum_git.app.doctor import leftovers, machine, repository, running
from stratum_git.app.doctor.finding import Finding
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import HostError
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.occupancy import Occupant, Occupied, write_record
from tests.support.contracts import conforms
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


def aged(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))
    return str(path)


def around(shell: Shell) -> Surroundings:
    return Surroundings(shell.repo.path, shell.environment)


def left(shell: Shell) -> list[Finding]:
    repo = around(shell).repository()
    return list(leftovers.leftovers(repo, folders_of(around(shell), repo, read_config(repo.root))))


def state(shell: Shell) -> Path:
    repo = around(shell).repository()
    root = folders_of(around(shell), repo, read_config(repo.root)).root
    root.mkdir(parents=True, exist_ok=True)
    return root


def ill(found: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in found if one.verdict != "ok"}


def obeyed(shell: Shell, fix: str) -> None:
    """Does what the doctor says, as its user would paste it."""
    subprocess.run(
        ["sh", "-c", fix], cwd=shell.repo.path, env=shell.environment, check=True, capture_output=True
    )


def test_old_locks_are_told_with_what_to_do(shell: Shell) -> None:
    git = shell.repo.path / ".git"
    mine, theirs = aged(git / "refs/stratum/flows/one.lock"), aged(git / "refs/heads/main.lock")
    (git / "HEAD.lock").touch()
    # It stays a fresh one however long the doctor takes to come there.
    os.utime(git / "HEAD.lock", (time.time() + 600, time.time() + 600))
    rows = json.loads(shell.run("doctor", "--json").out)
    told = {row["detail"].split(" is ")[0]: row for row in rows if row["check"] == "lock"}
    assert {lock: row["hint"] for lock, row in told.items()} == {
        mine: "it is ours: the next run that needs it deletes it, if its git is dead",
        theirs: "when no git is at work in the repository, delete it",
    }
    obeyed(shell, told[theirs]["fix"])
    assert not Path(theirs).exists()


def test_a_repository_that_is_well_is_said_to_be_so(shell: Shell) -> None:
    said = shell.run("doctor", "--json")
    conforms(said.json(), "doctor.v1")
    assert (said.code, [row for row in json.loads(said.out) if row["verdict"] == "fail"]) == (0, [])
    shown = shell.run("doctor")
    assert shown.out.startswith("ok   program: stratum-git ")
    assert not (shell.home / "state").exists(), "nothing is made for who looks"


def test_without_a_repository_the_rest_is_looked_at(shell: Shell) -> None:
    (shell.repo.path / ".git").rename(shell.repo.path / "no-git")
    rows = json.loads(shell.run("doctor", "--json").out)
    verdicts = {row["check"]: row["verdict"] for row in rows}
    assert (verdicts["repository"], verdicts["git"], verdicts["client claude"]) == ("fail", "ok", "ok")


def test_unusual_repositories_are_told_with_what_follows(shell: Shell, tmp_path: Path) -> None:
    origin = shell.repo.path.as_uri()
    shell.repo.commit("second", {"b.txt": "b\n"})
    shell.repo.git("config", "uploadpack.allowFilter", "true")
    place = tmp_path / "clone"
    options = ["--quiet", "--depth=1", "--filter=blob:none", "--no-checkout"]
    subprocess.run(["git", "clone", *options, origin, str(place)], check=True)
    clone = Shell(shell.home, ScratchRepo(place))
    (place / ".gitmodules").touch()
    clone.repo.git("config", "core.sparseCheckout", "true")
    clone.repo.git("config", "core.fsmonitor", "true")
    repo = around(clone).repository()
    found = {one.check: one for one in repository.kind(repo)}
    assert {name for name, one in found.items() if one.verdict == "warn"} == {
        "shallow clone", "partial clone", "submodules",
    }  # fmt: skip
    assert {"sparse checkout", "fsmonitor"} <= set(found)
    for check in ("shallow clone", "partial clone"):
        obeyed(clone, found[check].fix)
    assert not (place / ".git" / "shallow").exists()
    assert "?" not in clone.repo.git("rev-list", "--objects", "--all", "--missing=print")
    clone.repo.git("checkout", "-q", "--detach")
    clone.repo.git("config", "user.email", "stratum-git@localhost")
    head = ill(list(repository.head(repo)))
    assert "detached" in head["head"].detail
    assert head["identity"].fix == "git config user.name NAME && git config user.email ADDRESS"


def lease(shell: Shell, **changed: object) -> None:
    row = {
        "flow": "f", "step": "build", "task": "one", "attempt": 1, "holder": "somebody", "nonce": "n",
        "expires": time.time() + 60, "kind": "process", "identity": asdict(own_identity()), **changed,
    }  # fmt: skip
    path = shell.repo.write("../lease.json", json.dumps(row))
    blob = shell.repo.git("hash-object", "-w", str(path))
    shell.repo.git("update-ref", f"refs/stratum/leases/f/build/{row['task']}", blob)


def test_leases_are_told_with_their_holders(shell: Shell) -> None:
    lease(shell)
    gone = asdict(ProcessIdentity(2**22 - 1, 1, own_identity().boot_id, own_identity().host))
    lease(shell, task="two", identity=gone)
    lease(shell, task="three", kind="open", expires=1.0)
    path = shell.repo.write("../nonsense", "{")
    blob = shell.repo.git("hash-object", "-w", str(path))
    shell.repo.git("update-ref", "refs/stratum/leases/f/build/four", blob)
    found = [one for one in left(shell) if one.check.startswith("lease")]
    told = sorted((one.verdict, one.detail.split(" ")[0]) for one in found)
    assert told == [
        ("fail", "refs/stratum/leases/f/build/four"),
        ("ok", "at"),
        ("warn", "f/build/three"),
        ("warn", "f/build/two"),
    ]  # fmt: skip
    assert {one.fix for one in found if one.verdict == "warn"} == {"stratum-git resume f"}


def test_slots_that_are_not_as_they_should_be_are_told(shell: Shell) -> None:
    slots = state(shell) / "slots"
    slots.mkdir()
    for name in ("slot-gone", "slot-open", "slot-well"):
        shell.repo.git("worktree", "add", "-q", "--detach", str(slots / name))
    shell.repo.git("worktree", "lock", str(slots / "slot-well"))
    shell.repo.git("worktree", "add", "-q", "--detach", "--lock", str(shell.home / "slot-astray"))
    (slots / "slot-gone").rename(shell.home / "moved")
    (shell.repo.path / ".git/worktrees/slot-torn").mkdir()
    (slots / "slot-bad.json").write_text("{")
    found = [one for one in left(shell) if one.verdict != "ok"]
    assert len(found) == 5, found
    assert any("another state folder" in one.detail for one in found)
    assert any("cannot be read" in one.detail and one.verdict == "fail" for one in found)
    for one in found:
        obeyed(shell, one.fix)
    assert [one for one in left(shell) if one.verdict != "ok"] == []


def test_work_that_nobody_is_at_is_told_with_its_flow(shell: Shell) -> None:
    slot = state(shell) / "slots" / "slot-1"
    slot.mkdir(parents=True)
    who = Occupant("f", "build", "one", 1)
    write_record(slot, Occupied("worktree", Oid("b" * 40), RefName("refs/heads/x"), who))
    told = ill(left(shell))["slot slot-1"]
    assert (told.verdict, told.fix) == ("warn", "stratum-git resume f")
    assert "work of f/build/one lies in" in told.detail
    lease(shell)
    assert ill(left(shell)) == {}
    with FileLock(slot.with_name("slot-1.lock"), thread_local=False):
        shell.repo.git("update-ref", "-d", "refs/stratum/leases/f/build/one")
        assert ill(left(shell)) == {}


def test_a_hook_that_failed_today_is_told(shell: Shell) -> None:
    log = state(shell) / "hooks.log"
    log.write_text("2026-01-01T00:00:00 stratum-git hook stop: it took more than 2 s\n")
    assert "it took more than 2 s" in ill(left(shell))["hooks.log"].detail
    os.utime(log, (0, 0))
    assert "hooks.log" not in ill(left(shell))


def test_a_server_that_is_older_than_the_program_is_told(shell: Shell) -> None:
    repo = around(shell).repository()
    assert list(running.running(repo)) == []
    script = shell.home / "stratum-git"
    script.write_text("#!/bin/sh\necho up\nread -r line\n")
    script.chmod(0o755)
    pipe = subprocess.PIPE
    process = subprocess.Popen([script, "mcp"], cwd=shell.repo.path, stdin=pipe, stdout=pipe)
    try:
        # Until a process has begun, nobody sees its words.
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (found,) = running.running(repo, own=0)
        assert list(running.running(repo)) == [], "what the doctor starts is no server of anybody's"
        assert (found.verdict, found.detail) == ("ok", f"at work here: mcp (pid {process.pid})")
        # The program was changed after its start: a file of it is from the future.
        changed = time.time() + 60
        (found, old) = running.running(repo, changed, own=0)
        assert (old.verdict, old.fix) == ("warn", f"kill {process.pid}")
    finally:
        process.communicate(b"end\n")


def test_the_program_names_its_libraries() -> None:
    found = {one.check: one for one in machine.program()}
    assert (found["program"].verdict, found["mcp SDK"].verdict) == ("ok", "ok")
    assert "libraries" not in found


@pytest.mark.parametrize(
    ("script", "code", "late", "words"),
    [
        ("echo; echo hello", 0, False, "hello"),
        ("echo no >&2; exit 3", 3, False, "no"),
        ("cat", 0, False, "asked"),
        ("echo first; sleep 60", None, True, "first"),
        ("sleep 60 & echo $! > child; wait", None, True, ""),
    ],
)
def test_a_program_is_heard_and_ended(
    tmp_path: Path, script: str, code: int | None, late: bool, words: str
) -> None:
    said = hear(
        ("sh", "-c", script),
        cwd=tmp_path,
        environment=dict(os.environ),
        seconds=0.4 if late else 10,
        said=b"asked\n",
    )
    assert (said.code, said.late, said.words) == (code, late, words)
    assert said.seconds < 9
    child = tmp_path / "child"
    if child.exists():
        status = Path(f"/proc/{child.read_text().strip()}/status")
        deadline = time.monotonic() + 5
        while status.exists() and "State:\tZ" not in status.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not status.exists() or "State:\tZ" in status.read_text()


def test_a_program_that_goes_on_is_heard_until_it_has_said_it(tmp_path: Path) -> None:
    script = f"while read -r line; do echo {shlex.quote('got it')}; done"
    said = hear(
        ("sh", "-c", script), cwd=tmp_path, environment=dict(os.environ), seconds=5, said=b"x\n",
        until=lambda out: b"got it" in out,
    )  # fmt: skip
    assert (said.out, said.late) == (b"got it\n", False)
    assert said.seconds < 9
    with pytest.raises(HostError, match="cannot be started"):
        hear(("/no/such",), cwd=tmp_path, environment={}, seconds=1)
