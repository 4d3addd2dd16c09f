"""``land`` and ``undo`` are killed, or called by two at once: nothing is lost, and the next call ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.repos import ScratchRepo
from tests.support.shell import PROGRAM, SPEC, Shell

WRAPPER = """\
#!/bin/sh
case " $* " in
*" $KILL_AT "*) ;;
*) exec @GIT@ "$@" ;;
esac
case $KILL_WHEN in
before) kill -9 $PPID ;;
during) kill -9 $PPID; exec @GIT@ "$@" ;;
after) @GIT@ "$@"; code=$?; kill -9 $PPID; exit $code ;;
esac
"""
INSTANTS = [("before", "update-ref"), ("during", "read-tree"), ("after", "read-tree")]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which a flow has landed two files."""
    place = tmp_path_factory.mktemp("afterwards")
    scratch = ScratchRepo.make(place / "repo")
    scratch.git("config", "user.name", "Tess")
    scratch.git("config", "user.email", "tess@example.invalid")
    scratch.commit("first", {"a.txt": "a\n", "b.txt": "b\n"})
    (place / "user/bin").mkdir(parents=True)
    shell = Shell(place / "user", scratch)
    agent = shell.agent('echo "$STRATUM_TASK" > "$STRATUM_TASK.txt"; echo more >> a.txt')
    options = (shell.tasks({"id": "one"}, {"id": "two", "depends_on": ["one"]}), agent)
    assert shell.run("run", shell.spec(SPEC), *options, "--quiet").code == 0
    text = WRAPPER.replace("@GIT@", str(shutil.which("git")))
    shell.file("bin/git", text).chmod(0o755)
    return place


@pytest.fixture
def there(template: Path, tmp_path: Path) -> Shell:
    """A copy of it, with work of the user's in the checkout."""
    shutil.copytree(template, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy/user", ScratchRepo(tmp_path / "copy/repo"))
    shell.repo.git("update-index", "-q", "--refresh")
    shell.repo.write("b.txt", "mine\n")
    shell.repo.write("staged.txt", "staged\n")
    shell.repo.git("add", "staged.txt")
    return shell


def killed(shell: Shell, when: str, at: str, *words: str) -> None:
    """Runs the program until a git is called, and kills it then."""
    path = f"{shell.home}/bin:{os.environ['PATH']}"
    environment = {**shell.environment, "PATH": path, "KILL_WHEN": when, "KILL_AT": at}
    done = subprocess.run(
        [*PROGRAM, *words], cwd=shell.repo.path, env=environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == -9, done


def story(shell: Shell) -> str:
    return shell.repo.git("log", "--first-parent", "--format=%s", f"refs/stratum/flows/{shell.flow()}")


def check(shell: Shell, head: str) -> None:
    """Looks whether the branch and its checkout are at *head*, and the user's own work is as it was."""
    assert shell.repo.head() == head
    assert shell.repo.git("status", "--porcelain").split("\n") == ["M b.txt", "A  staged.txt"]
    assert (shell.repo.path / "b.txt").read_text() == "mine\n"
    assert not list((shell.repo.path / ".git").glob("**/*.lock"))
    assert not list((shell.repo.path / ".git/stratum/claims").glob("*"))
    assert shell.repo.git("stash", "list") == ""


@pytest.mark.parametrize(("when", "at"), INSTANTS)
def test_an_undo_that_was_killed_is_ended_by_the_next(there: Shell, when: str, at: str) -> None:
    flow = there.flow()
    killed(there, when, at, "undo", flow)

    said = there.run("undo", flow)

    assert said.code == 0, said
    check(there, there.repo.git("rev-list", "--max-parents=0", "HEAD"))
    assert story(there).count("Put main back") == 1


@pytest.mark.parametrize(("when", "at"), INSTANTS[1:2])
def test_a_late_landing_that_was_killed_is_ended_by_the_next(there: Shell, when: str, at: str) -> None:
    flow, landed = there.flow(), there.repo.git("rev-parse", "HEAD^{tree}")
    assert there.run("undo", flow).code == 0
    killed(there, when, at, "land", flow)

    said = there.run("land", flow)

    assert said.code == 0, said
    assert there.repo.git("rev-parse", "HEAD^{tree}") == landed
    assert there.repo.git("rev-list", "--count", "HEAD") == "3"
    check(there, there.repo.head())
    assert story(there).count("land later") == 1


def test_of_two_at_once_one_does_it_and_the_other_is_told(there: Shell) -> None:
    flow = there.flow()
    both = [there.start("undo", flow) for _ in range(2)]
    ends = sorted((one.communicate(timeout=60), one.returncode)[1] for one in both)

    assert ends in ([0, 0], [0, 2])
    check(there, there.repo.git("rev-list", "--max-parents=0", "HEAD"))
    both = [there.start(verb, flow) for verb in ("land", "land")]
    said = [(one.communicate(timeout=60), one.returncode) for one in both]
    assert sorted(code for _, code in said) in ([0, 0], [0, 2])
    assert there.repo.git("rev-list", "--count", "HEAD") == "3"
    check(there, there.repo.head())
    assert story(there).count("land later") == 1
