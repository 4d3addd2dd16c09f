"""Installing, as a user meets it: files of his in a project, the verbs, and the files afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.shell import Said, Shell

SETTINGS = """{
\t"permissions": {"allow": ["Bash(ls)"]},
\t"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}
}"""
PROGRAM = ("--program", "stratum-git")


def tree(*tops: Path) -> dict[str, bytes | str]:
    """Returns every file below folders, and the folders."""
    found: dict[str, bytes | str] = {}
    for top in tops:
        for path in top.rglob("*"):
            if ".git" in path.relative_to(top).parts[:1] and path.name != "exclude":
                continue
            if path.is_symlink():
                found[str(path)] = f"-> {path.readlink()}"
            else:
                found[str(path)] = "folder" if path.is_dir() else path.read_bytes()
    return found


@pytest.fixture
def project(shell: Shell) -> Path:
    """A project that has a client's files already, none of which ends as ours would."""
    root = shell.repo.path
    (root / ".claude").mkdir()
    (root / ".claude/settings.json").write_text(SETTINGS)
    (root / "CLAUDE.md").write_bytes(b"\xef\xbb\xbf# Mine\r\n\r\nno end of line")
    (root / ".mcp.json").write_text('{"mcpServers":{"other":{"command":"x"}}}')
    (shell.home / ".claude.json").write_text('{"numStartups": 3, "projects": {}}\n')
    (shell.home / ".claude.json").chmod(0o600)
    return root


def install(shell: Shell, *words: str, verb: str = "install") -> tuple[Said, dict[str, Json]]:
    more = PROGRAM if verb == "install" else ()
    said = shell.run(verb, *more, "--json", *words)
    answer = said.json()
    conforms(answer, "install-result.v1")
    assert isinstance(answer, dict)
    return said, answer


@pytest.mark.parametrize("scope", ["project", "user", "local"])
def test_what_was_installed_goes_without_a_trace(shell: Shell, project: Path, scope: str) -> None:
    before = tree(project, shell.home)
    said, answer = install(shell, "--scope", scope)
    assert (said.code, answer["result"]) == (0, "installed")
    after = tree(project, shell.home)
    assert after != before
    said, answer = install(shell, "--scope", scope)
    assert (answer["result"], answer["files"]) == ("unchanged", [])
    assert tree(project, shell.home) == after
    said, answer = install(shell, "--scope", scope, verb="uninstall")
    assert answer["result"] == "uninstalled"
    left = tree(project, shell.home)
    state = shell.home / "state"
    mine = {str(path) for path in (state, state / "stratum-git", state / "stratum-git/installs")}
    lock = str(state / "stratum-git/installs/lock")
    assert {name: what for name, what in left.items() if name not in {*mine, lock}} == before
    assert (shell.home / ".claude.json").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_shows_everything_and_writes_nothing(shell: Shell, project: Path) -> None:
    before = tree(project, shell.home)
    said = shell.run("install", "--dry-run", *PROGRAM)
    assert said.code == 0
    assert tree(project, shell.home) == before
    assert f"+++ {project / 'CLAUDE.md'}\n" in said.out
    assert '+    "stratum": {' not in said.out
    assert '"stratum":{' in said.out
    assert "Nothing was written." in said.err
    patched = "".join(line for line in said.out.splitlines(keepends=True) if line.startswith(("-", "+")))
    assert "-# Mine" not in patched
