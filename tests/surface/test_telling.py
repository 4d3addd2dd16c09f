"""What is told at once is what the verb tells; and the verb tells what is not certain."""

from __future__ import annotations

import pytest

from stratum_git.cli import program
from stratum_git.cli.main import VERBS, overview
from stratum_git.cli.telling import told
from tests.support.shell import Shell
from tests.surface.test_querying import waiting

KINDS = ("flows", "gates", "sessions")


def by_the_verb(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert program.run(["query", *words], VERBS, overview()) == 0
    return capsys.readouterr().out


def written(shell: Shell, flow: str) -> str:
    """Returns what ``query flow`` prints where nothing is remembered."""
    path = shell.repo.path / ".git/stratum/told"
    path.rename(path.with_name("aside"))
    said = shell.run("query", "flow", flow).out
    path.with_name("aside").rename(path)
    return said


def test_lists_are_those_of_the_verb(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shell.repo.path)
    assert [told([kind]) for kind in KINDS] == ["[]\n"] * 3
    flow = waiting(shell)
    # Whoever ran it has written that down, before anybody asked.
    assert told(["flow", flow]) == written(shell, flow)
    assert shell.run("session", "run", "x", shell.agent("true")).code == 0
    path = shell.repo.path / ".git/stratum/told"
    for _ in range(2):
        for name in shell.flows():
            path.unlink(missing_ok=True)
            worked_out = told(["flow", name])
            assert worked_out == told(["flow", name, "--json"])
            path.unlink()
            assert by_the_verb(capsys, "flow", name) == worked_out == told(["flow", name])
        for kind in KINDS:
            said = told([kind, "--json"])
            assert said == by_the_verb(capsys, kind) != "[]\n"
        shell.repo.git("pack-refs", "--all")
    assert shell.run("cancel", flow).code in {0, 1}
    # It went on, so it is told anew; and what is deleted is not told of by a file that remembers it.
    assert '"cancelled"' in (told(["flow", flow]) or "")
    path.unlink()
    assert '"cancelled"' in by_the_verb(capsys, "flow", flow)
    assert flow.encode() in path.read_bytes()
    assert shell.run("gc", "--older-than", "0s", "--flows").code == 0
    assert not path.exists()


@pytest.mark.parametrize("words", [(), ("flow",), ("flows", "--long"), ("flows", "--last", "1"), ("what",)])
def test_other_words_are_the_verbs_to_answer(shell: Shell, words: tuple[str, ...]) -> None:
    assert told(words) is None


def test_what_cannot_be_read_is_the_verbs_to_tell(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.repo.path)
    shell.repo.git("update-ref", "refs/stratum/flows/foreign", "HEAD")
    assert told(["flows"]) is None
    assert told(["flow", "foreign"]) is None
    said = shell.run("query", "flows")
    assert (said.json(), "the flow foreign cannot be read" in said.err) == ([], True)
    monkeypatch.chdir(shell.home)
    assert told(["flows"]) is None
    assert shell.run("query", "flows", cwd=shell.home).code == 2
