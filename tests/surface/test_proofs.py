"""A run whose landing is tested, ended in the middle of that, as its user meets it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.programs import wait_until_gone
from tests.support.shell import SPEC, Shell, wait_for

CHECK = """\
echo "$(git rev-parse 'HEAD^{tree}')" >> NOTES/ran
if test -e two.txt && ! test -e NOTES/go; then
    echo $$ > NOTES/new
    mv NOTES/new NOTES/hangs
    exec sleep 60
fi
! test -e bad.txt
"""


def test_whoever_is_killed_while_he_tests_has_moved_nothing_and_knows_what_passed(shell: Shell) -> None:
    notes = shell.home / "notes"
    notes.mkdir()
    check = shell.file("check.sh", CHECK.replace("NOTES", str(notes)))
    more = f"        land_verify: 'sh {check}'\n        require: 2\n        on_quorum: keep\n"
    words = (shell.spec(SPEC + more), shell.tasks({"id": "one"}, {"id": "two"}, {"id": "bad"}))
    agent = shell.agent("echo x > $STRATUM_TASK.txt")
    tip = shell.repo.head()

    for how in (signal.SIGKILL, signal.SIGINT):
        (notes / "hangs").unlink(missing_ok=True)
        verb = ("run", *words) if how == signal.SIGKILL else ("resume", shell.flow())
        with shell.start(*verb, agent) as running:
            wait_for(notes / "hangs")
            wait_for(shell.repo.path / ".git/refs/stratum/verdicts/known")
            os.kill(running.pid, how)
            running.communicate()
        wait_until_gone(int((notes / "hangs").read_text()))
        assert shell.repo.head() == tip
        assert shell.repo.git("status", "--porcelain") == ""

    (notes / "go").touch()
    before = len((notes / "ran").read_text().split())
    said = shell.run("resume", shell.flow(), agent)

    assert said.code == 0, said
    assert shell.repo.git("log", "--format=%s", "-3").splitlines() == ["two: do two", "one: do one", "first"]
    tested = (notes / "ran").read_text().split()
    assert len(tested) <= before + 3
    assert tested.count(shell.repo.git("rev-parse", "main~1^{tree}")) == 1
    assert [path.name for path in Path(shell.home / "state").rglob("slots/*.new")] == []
    told = shell.run("log", shell.flow()).out
    assert "bad: left out: `sh" in told
    assert "passes, known from before" in told


@pytest.mark.parametrize("merge", ["squash", "manual"])
def test_a_strategy_is_the_specs_to_choose(shell: Shell, merge: str) -> None:
    spec = shell.spec(f"{SPEC}        merge: {merge}\n")
    agent = shell.agent("echo x > x.txt; git add x.txt; git commit -qm 'by myself'")
    said = shell.run("run", spec, shell.tasks({"id": "a"}), agent)
    assert said.code == 0, said
    body = shell.repo.git("log", "-1", "--format=%B")
    assert body.startswith("a: do a\n\n* by myself\n\n" if merge == "squash" else "first")
