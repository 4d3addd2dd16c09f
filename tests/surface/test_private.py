"""A user who is not root: his run mounts slots that nobody else sees, and `shell` lets him in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commoner import Commoner, commoner
from tests.support.shell import wait_for

AGENT = """
stat -f -c %T . > "$HOME/kind"
grep CapEff /proc/self/status > "$HOME/rights"
echo changed >> a.txt
git mv dir moved
touch "$HOME/at-work"
while [ ! -e "$HOME/go" ]; do sleep 0.05; done
pwd -P > "$HOME/place"
ls > "$HOME/seen"
echo done > new.txt
"""


@pytest.fixture
def user() -> Iterator[Commoner]:
    with commoner() as made:
        yield made


def read(user: Commoner, name: str) -> str:
    return (user.home / name).read_text().strip()


def test_slots_of_a_user_are_mounted_where_nobody_else_sees_them(user: Commoner) -> None:
    process = user.start("run", user.spec(), user.tasks({"id": "one"}), user.agent(AGENT), "--quiet")
    wait_for(user.home / "at-work")
    flow = user.flow()
    inside = user.run("shell", flow, "one", "--", "sh", "-c", "pwd; git status -s; touch mine; kill -9 $$")
    (user.home / "go").write_text("")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert (read(user, "kind"), read(user, "rights").split()) == ("overlayfs", ["CapEff:", "0" * 16])
    place = read(user, "place")
    # It is the very slot, changed by the agent, and what the person makes there is the attempt's.
    assert (inside.code, inside.out.split()) == (
        128 + 9,
        [place, "M", "a.txt", "R", "dir/c.txt", "->", "moved/c.txt"],
    )
    assert user.repo.files() == ["a.txt", "b.txt", "mine", "moved/c.txt", "new.txt"]
    assert place not in Path("/proc/self/mountinfo").read_text()
    assert (user.processes(), list(Path(place).parents[1].glob("layers/*"))) == ([], [])


def test_a_killed_run_is_taken_up_by_another_namespace(user: Commoner) -> None:
    agent = user.agent(AGENT)
    process = user.start("run", user.spec(), user.tasks({"id": "one"}), agent, "--quiet")
    wait_for(user.home / "at-work")
    process.kill()
    process.communicate(timeout=60)
    flow = user.flow()
    (user.home / "go").write_text("")
    left = user.run("shell", flow, "one", "--", "cat", "a.txt")
    done = user.run("resume", flow, agent)
    assert (left.code, left.out, done.code) == (0, "a\nchanged\n", 0), left.err + done.err
    assert user.repo.show("refs/stratum/attempts/" + f"{flow}/build/one/1:a.txt") == "a\nchanged"
    assert user.repo.files() == ["a.txt", "b.txt", "moved/c.txt", "new.txt"]
    deadline = time.monotonic() + 5
    while user.processes() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert user.processes() == []


def test_who_mounts_nothing_enters_no_namespace(user: Commoner) -> None:
    here = str(Path("/proc/self/ns/user").readlink())
    agent = user.agent("stat -f -c %T . > $HOME/kind; readlink /proc/self/ns/user > $HOME/users")
    # The slot of a session stays, and others are to see it.
    assert user.run("session", "run", "do it", agent).code == 0
    assert (read(user, "kind") != "overlayfs", read(user, "users")) == (True, here)
    user.repo.write(".stratum/config.yaml", "slots: {rung: cold}\n")
    assert user.run("run", user.spec(), user.tasks({"id": "one"}), agent).code == 0
    assert (read(user, "kind") != "overlayfs", read(user, "users")) == (True, here)


def test_what_a_person_changes_afterwards_is_kept_and_told(user: Commoner) -> None:
    done = user.run("run", user.spec(), user.tasks({"id": "one"}), user.agent("echo 1 > new.txt"))
    flow = user.flow()
    seen = user.run("shell", flow, "one", "--", "sh", "-c", "cat new.txt; echo mine > mine.txt; exit 3")
    assert (done.code, seen.code, seen.out) == (0, 3, "1\n")
    ref = f"refs/stratum/attempts/{flow}/build/one/1"
    commit = user.repo.git("rev-parse", ref)
    assert seen.err == f"what you changed is {commit}, on {ref}\n"
    assert user.repo.files(commit) == ["a.txt", "b.txt", "dir/c.txt", "mine.txt", "new.txt"]
    wrong = user.run("shell", flow, "two")
    assert (wrong.code, wrong.out) == (2, "")
    assert "two" in wrong.err
