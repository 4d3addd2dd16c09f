"""Installing, as a user meets it: files of his in a project, the verbs, and the files afterwards."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.shell import Said, Shell, launcher

SETTINGS = """{
\t"permissions": {"allow": ["Bash(ls)"]},
\t"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}
}"""
README = Path(__file__).parents[2] / "stratum_git/README.md"
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


def is_in_the_table(path: Path, *tops: Path) -> bool:
    """Returns whether the README says that the program writes there."""
    table = README.read_text().partition("\n| of `install`")[2].partition("\n\n")[0]
    known = [name for row in table.splitlines() for name in re.findall("`(.*?)`", row.split("|")[1])]
    top = next(top for top in tops if path.is_relative_to(top))
    name = path.relative_to(top).as_posix().replace("state/", "$XDG_STATE_HOME/", 1)
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), name) for one in known)


def paths(answer: dict[str, Json], key: str) -> list[str]:
    rows = answer[key]
    assert isinstance(rows, list)
    return [str(row["path"]) for row in rows if isinstance(row, dict)]


@pytest.mark.parametrize("scope", ["project", "user", "local"])
def test_what_was_installed_goes_without_a_trace(shell: Shell, project: Path, scope: str) -> None:
    before = tree(project, shell.home)
    said, answer = install(shell, "--scope", scope)
    assert (said.code, answer["result"]) == (0, "installed")
    after = tree(project, shell.home)
    written = {name for name, what in after.items() if what not in ("folder", before.get(name))}
    assert len(written) > 10
    assert [name for name in written if not is_in_the_table(Path(name), project, shell.home)] == []
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
    # What is printed here is read with the line ends of this system.
    (project / "CLAUDE.md").write_text("# Mine\n\nno end of line")
    before = tree(project, shell.home)
    said = shell.run("install", "--dry-run", *PROGRAM)
    assert said.code == 0
    assert tree(project, shell.home) == before
    assert "Nothing was written." in said.err
    (shell.home / "patch").write_text(said.out.replace(f" {project}/", " "))
    shell.repo.git("apply", "-p0", str(shell.home / "patch"))
    patched = tree(project)
    (shell.home / "patch").unlink()
    shell.repo.git("clean", "-qfd")
    for name, data in before.items():
        if isinstance(data, bytes):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(data)
    install(shell)
    assert tree(project) == patched


def test_a_file_in_the_way_is_named_and_nothing_is_written(shell: Shell, project: Path) -> None:
    settings, servers = project / ".claude/settings.json", project / ".mcp.json"
    settings.write_text("// mine\n{}")
    servers.write_text('{"mcpServers": {"stratum": {"command": "other"}},}')
    before = tree(project, shell.home)
    said, answer = install(shell)
    assert (said.code, answer["result"]) == (2, "refused")
    assert paths(answer, "refused") == [str(settings), str(servers)]
    assert tree(project, shell.home) == before
    told = shell.run("install", *PROGRAM)
    assert (told.code, told.out) == (2, "")
    assert f"error: {servers}: line 1, column 49: a comma before }}\nhint: delete that comma\n" in told.err
    assert "Nothing was written." in told.err
    (shell.home / "elsewhere").mkdir()
    assert shell.run("install", cwd=shell.home / "elsewhere").code == 2


def test_what_others_wrote_meanwhile_stays(shell: Shell, project: Path) -> None:
    install(shell)
    settings, servers = project / ".claude/settings.json", project / ".mcp.json"
    mine = '"command": "mine"'
    text = settings.read_text()
    first = text.index("{", text.index('"hooks": [', text.index("SessionStart")))
    settings.write_text(text[:first] + "{" + mine + "}, " + text[first:])
    servers.write_text(servers.read_text().replace('"mcpServers":{', '"mcpServers":{"new":{"command":"y"},'))
    with (project / "CLAUDE.md").open("a", newline="") as file:
        file.write("Mine, below.\r\n")
    skill, agent = project / ".claude/skills/stratum-plan", project / ".claude/agents/stratum-worker.md"
    (skill / "SKILL.md").write_text("mine now")
    (project / ".claude/skills/stratum-test/notes.md").write_text("mine")
    agent.unlink()
    _, again = install(shell, "--dry-run")
    assert paths(again, "files") == [str(agent)]
    _, answer = install(shell, verb="uninstall")
    assert paths(answer, "kept") == [str(skill / "SKILL.md")]
    hooks = {
        "Stop": [{"hooks": [{"type": "command", "command": "true"}]}],
        "SessionStart": [{"hooks": [{"command": "mine"}]}],
    }
    assert json.loads(settings.read_text()) == {"permissions": {"allow": ["Bash(ls)"]}, "hooks": hooks}
    assert servers.read_text() == '{"mcpServers":{"new":{"command":"y"},"other":{"command":"x"}}}'
    assert (
        project / "CLAUDE.md"
    ).read_bytes() == b"\xef\xbb\xbf# Mine\r\n\r\nno end of line\r\nMine, below.\r\n"
    left = {name.removeprefix(f"{project}/") for name in tree(project)}
    assert left - {"a.txt", "b.txt", "dir", "dir/c.txt"} == {
        ".claude", ".claude/settings.json", ".mcp.json", "CLAUDE.md", ".git/info/exclude",
        ".claude/skills", ".claude/skills/stratum-plan", ".claude/skills/stratum-plan/SKILL.md",
        ".claude/skills/stratum-test", ".claude/skills/stratum-test/notes.md",
    }  # fmt: skip


def test_who_clones_a_project_can_take_it_out(shell: Shell, project: Path) -> None:
    (project / "CLAUDE.md").write_text("# Mine\n")
    shell.repo.git("add", "-A")
    shell.repo.git("commit", "-qm", "before")
    install(shell)
    shell.repo.git("add", "-A")
    shell.repo.git("commit", "-qm", "with stratum-git")
    assert "skills/stratum-plan/SKILL.md" in shell.repo.git("show", "--stat=200")
    shutil.rmtree(shell.home / "state")
    # Also who has the program elsewhere, and says nothing, leaves the name that all others need.
    said = shell.run("install", "--json").json()
    assert isinstance(said, dict)
    assert (said["result"], said["files"]) == ("unchanged", [])
    skill = project / ".claude/skills/stratum-plan/SKILL.md"
    skill.write_text(skill.read_text() + "more\n")
    _, answer = install(shell, verb="uninstall")
    assert paths(answer, "kept") == [str(skill)]
    assert shell.repo.git("diff", "--stat", "HEAD~1", "--", ".", f":!{skill.relative_to(project)}") == ""
    assert shell.repo.git("status", "--porcelain", "-uall", "--ignored").count("??") == 0


def at_once(shell: Shell, *words: str) -> list[str]:
    """Runs a verb four times at once, and returns what came of it."""
    started = [
        launcher().start(
            [*words, "--json"],
            cwd=shell.repo.path,
            env=shell.environment,
            place=shell.home / f"{words[0]}-{n}",
        )
        for n in range(4)
    ]
    return sorted(json.loads(one.wait().out)["result"] for one in started)


def test_two_at_once_do_it_once(shell: Shell, project: Path) -> None:
    before = tree(project)
    assert at_once(shell, "install", *PROGRAM) == ["installed", "unchanged", "unchanged", "unchanged"]
    assert at_once(shell, "uninstall") == ["unchanged", "unchanged", "unchanged", "uninstalled"]
    assert tree(project) == before


def test_links_inside_are_written_through_and_modes_stay(shell: Shell, project: Path) -> None:
    (project / "CLAUDE.md").rename(project / "AGENTS.md")
    (project / "AGENTS.md").chmod(0o640)
    (project / "CLAUDE.md").symlink_to("AGENTS.md")
    before = tree(project)
    install(shell)
    assert (project / "CLAUDE.md").readlink() == Path("AGENTS.md")
    assert b"stratum-git:begin" in (project / "AGENTS.md").read_bytes()
    assert (project / "AGENTS.md").stat().st_mode & 0o777 == 0o640
    install(shell, verb="uninstall")
    assert tree(project) == before


def test_what_stratum_mcp_left_is_told_and_left(shell: Shell, project: Path) -> None:
    (project / ".claude/mcp.json").write_text('{"mcpServers": {"stratum": {"command": "stratum-mcp"}}}')
    (project / ".mcp.json").write_text('{"mcpServers": {"stratum": {"command": "stratum-mcp"}}}')
    (project / "CLAUDE.md").write_text("## Stratum Execution Model\n")
    old = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "~/.stratum/hooks/stop.sh"}]}]}}
    (project / ".claude/settings.json").write_text(json.dumps({**old, "disableAllHooks": True}))
    (project / ".claude/settings.local.json").write_text('{"disabledMcpjsonServers": ["stratum-git"]}')
    said, answer = install(shell)
    assert said.code == 2
    assert "--name" in str(answer["refused"])
    said, answer = install(shell, "--name", "stratum-git")
    assert said.code == 0
    for part in (
        "mcp.json is of",
        "is stratum-mcp. It was left",
        "hooks of stratum-mcp",
        "disableAll",
        "in disabledMcp",
    ):
        assert part in str(answer["remarks"])
    assert "## Stratum" in str(answer["remarks"])
    servers = json.loads((project / ".mcp.json").read_text())["mcpServers"]
    assert servers == {
        "stratum": {"command": "stratum-mcp"},
        "stratum-git": {"type": "stdio", "command": "stratum-git", "args": ["mcp"]},
    }
    assert shell.run("install", "--name", "a b").code == 2


def test_another_maker_of_worktrees_stays_the_only_one(shell: Shell, project: Path) -> None:
    theirs = {"hooks": {"WorktreeCreate": [{"hooks": [{"type": "command", "command": "theirs"}]}]}}
    (project / ".claude/settings.json").write_text(json.dumps(theirs))
    _, answer = install(shell)
    hooks = json.loads((project / ".claude/settings.json").read_text())["hooks"]
    assert hooks["WorktreeCreate"] == theirs["hooks"]["WorktreeCreate"]
    assert "WorktreeRemove" not in hooks
    assert "SessionStart" in hooks
    assert "WorktreeCreate already" in str(answer["remarks"])


def test_force_takes_the_place_of_a_file_and_puts_it_back(shell: Shell, project: Path) -> None:
    skill = project / ".claude/skills/stratum-plan/SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("of stratum-mcp")
    before = tree(project)
    assert install(shell)[0].code == 2
    assert install(shell, "--force")[0].code == 0
    assert skill.read_text() != "of stratum-mcp"
    install(shell, verb="uninstall")
    assert tree(project) == before


def test_a_plugin_is_written_brought_up_to_date_and_removed(shell: Shell, project: Path) -> None:
    folder = shell.home / "made/plugin"
    before = tree(shell.home)
    said, answer = install(shell, "--plugin", str(folder))
    assert (said.code, answer["scope"], answer["root"]) == (0, "plugin", str(folder))
    row = json.loads((folder / ".claude-plugin/plugin.json").read_text())
    assert row["mcpServers"]["stratum"]["command"] == "stratum-git"
    assert (folder / "hooks/stop").stat().st_mode & 0o100
    assert len(list((folder / "skills").iterdir())) >= 10
    (folder / "hooks/stop").unlink()
    assert paths(install(shell, "--plugin", str(folder))[1], "files") == [str(folder / "hooks/stop")]
    install(shell, "--plugin", str(folder), verb="uninstall")
    shutil.rmtree(shell.home / "state")
    assert tree(shell.home) == before
    said, answer = install(shell, "--plugin", str(project))
    assert (said.code, "other things in it" in str(answer["refused"])) == (2, True)


def test_entries_for_other_clients_are_printed(shell: Shell) -> None:
    words = ("--name", "st", "--program", "'/a b/stratum-git'")
    toml = tomllib.loads(shell.run("install", "--print", "codex", *words).out)
    entry = {"command": "/a b/stratum-git", "args": ["mcp"], "required": True}
    assert toml == {"mcp_servers": {"st": entry}}
    rows = shell.run("install", "--print", "--json", *words).json()
    conforms(rows, "install-entries.v1")
    assert isinstance(rows, list)
    assert [row["client"] for row in rows if isinstance(row, dict)] == ["codex", "opencode", "cursor", "json"]
    assert "codex mcp add st -- '/a b/stratum-git' mcp" in str(rows)
    for client in ("opencode", "cursor", "json"):
        assert "st" in str(shell.run("install", "--print", client, *words).json())


@pytest.mark.parametrize("home", [None, ""])
def test_without_home_the_files_are_those_of_the_account(shell: Shell, home: str | None) -> None:
    given = {
        name: value for name, value in shell.environment.items() if name not in {"HOME", "CLAUDE_CONFIG_DIR"}
    }
    if home is not None:
        given["HOME"] = home
    words = ["install", "--scope", "user", "--dry-run", "--json"]
    place = shell.repo.path.parent / "said"
    done = launcher().start(words, cwd=shell.repo.path, env=given, place=place).wait(60)
    account = pwd.getpwuid(os.getuid()).pw_dir
    assert f'"{account}/.claude' in done.out
    assert '"/.claude' not in done.out


def test_what_a_project_shares_is_not_overlooked_for_one_user(shell: Shell, project: Path) -> None:
    install(shell)
    install(shell, "--scope", "local")
    shell.repo.git("add", "-A")
    staged = shell.repo.git("diff", "--cached", "--name-only").split()
    assert ".claude/skills/stratum-plan/SKILL.md" in staged
    assert [path for path in staged if "local" in path] == []
    for scope in ("local", "project"):
        assert install(shell, "--scope", scope, verb="uninstall")[0].code == 0
    assert not (project / ".claude/skills").exists()
