"""What the doctor finds in a client's files: each finding is made to happen, and nobody's program started."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stratum_git import __version__
from stratum_git.app.doctor import clients, hooks, installed, servers
from stratum_git.app.doctor.finding import Finding
from stratum_git.app.surroundings import Surroundings
from tests.support.shell import PROGRAM, Shell

OWN = {"type": "stdio", "command": "stratum-git", "args": ["mcp"]}
SPEAKS = """#!/bin/sh
read -r line
echo '{"jsonrpc":"2.0","id":1,"result":{"serverInfo":{"name":"x","version":"0.0.1"}}}'
echo '{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"one"}]}}'
cat >/dev/null
"""


class Patient:
    """A user whose PATH has what a test puts there, and this very program."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.bin = shell.home / "bin"
        self.bin.mkdir()
        self.program("stratum-git", f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
        self.canary = shell.home / "canary"

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)

    def trap(self, path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {self.canary}\n")
        path.chmod(0o755)
        return str(path)

    @property
    def around(self) -> Surroundings:
        kept = {k: v for k, v in self.shell.environment.items() if not k.endswith(("_API_KEY", "_TOKEN"))}
        path = f"{self.bin}:{self.shell.repo.path}/bin:/usr/bin:/bin"
        return Surroundings(self.shell.repo.path, {**kept, "PATH": path})

    def serves(self, row: Mapping[str, Any], file: str = ".mcp.json") -> None:
        self.shell.repo.write(file, json.dumps({"mcpServers": {"stratum": row}}))

    def settings(self, row: object) -> None:
        text = row if isinstance(row, str) else json.dumps(row)
        self.shell.repo.write(".claude/settings.json", text)

    def servers(self) -> list[Finding]:
        return list(servers.servers(self.around, self.around.repository()))

    def hooks(self) -> list[Finding]:
        return list(hooks.hooks(self.around, self.around.repository()))

    def obeyed(self, fix: str) -> None:
        """Does what the doctor says."""
        around = self.around
        subprocess.run(
            ["sh", "-c", fix], cwd=around.cwd, env=dict(around.environment), check=True, capture_output=True
        )

    def client(self, name: str) -> list[tuple[str, str]]:
        repo = self.around.repository()
        found = [*clients.client(name, self.around, repo), *clients.login(name, self.around, repo)]
        return [(one.verdict, one.detail.partition(" at ")[0]) for one in found]


@pytest.fixture
def patient(shell: Shell) -> Patient:
    return Patient(shell)


def brief(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.verdict, one.fix) for one in found]


# --- clients ----------------------------------------------------------------------------------------------


def says(version: str, login: str) -> str:
    return f'#!/bin/sh\ncase "$*" in --version) {version};; *) {login};; esac\n'


def test_clients_are_found_and_asked_who_is_logged_in(patient: Patient) -> None:
    assert patient.client("claude") == [("ok", "not on PATH")]
    yes = """echo '{"loggedIn": true, "authMethod": "claude.ai"}'"""
    patient.program("claude", says("echo 2.1.328 '(Claude Code)'", yes))
    assert patient.client("claude") == [("ok", "2.1.328 (Claude Code)"), ("ok", "by claude.ai")]
    patient.program("claude", says("echo 2.1.328", """echo '{"loggedIn": false}'; exit 1"""))
    assert patient.client("claude")[1] == ("warn", "nobody is logged in")
    patient.program("claude", says("echo 2.0", "echo unknown command; exit 1"))
    assert patient.client("claude")[1] == ("ok", "could not be told; it did not answer in time")
    patient.program("codex", says("echo hm >&2; echo codex-cli 0.169.0", "echo Not logged in >&2; exit 1"))
    assert patient.client("codex") == [("ok", "codex-cli 0.169.0"), ("warn", "Not logged in")]
    patient.program("codex", says("echo no such library >&2; exit 127", "exit 127"))
    assert patient.client("codex")[0][0] == "warn"
    patient.program("opencode", says("echo 1.18.33", "sleep 60"))
    assert patient.client("opencode")[1] == ("warn", "no provider has credentials")
    auth = Path(patient.around.environment["HOME"]) / ".local/share/opencode/auth.json"
    auth.parent.mkdir(parents=True)
    auth.write_text('{"anthropic": {"type": "api"}}')
    assert patient.client("opencode")[1] == ("ok", "with anthropic")
    package = patient.shell.home / "opencode-ai"
    patient.trap(package / "bin/opencode.exe")
    (package / "package.json").write_text('{"name": "opencode-ai", "version": "1.2.3"}')
    (patient.bin / "opencode").unlink()
    (patient.bin / "opencode").symlink_to(package / "bin/opencode.exe")
    assert patient.client("opencode")[0] == ("ok", "1.2.3")
    assert not patient.canary.exists(), "it is slow to start, and its package says it, too"


def test_no_client_is_taken_out_of_the_repository(patient: Patient) -> None:
    patient.trap(patient.shell.repo.path / "bin" / "claude")
    assert patient.client("claude") == [("ok", "not on PATH")]
    assert not patient.canary.exists()


# --- the server -------------------------------------------------------------------------------------------


def test_the_server_is_really_asked(patient: Patient) -> None:
    assert brief(patient.servers()) == [("ok", "stratum-git install")]
    patient.serves(OWN)
    (found,) = patient.servers()
    assert (found.verdict, "tools in" in found.detail) == ("ok", True), found


def test_a_server_that_cannot_be_reached_is_told(patient: Patient) -> None:
    patient.serves(OWN)
    patient.program("stratum-git", "#!/bin/sh\necho no module named mcp >&2; exit 1\n")
    (found,) = patient.servers()
    assert (found.verdict, "it ended with 1: no module named mcp" in found.detail) == ("fail", True)
    patient.program("stratum-git", SPEAKS)
    (found,) = patient.servers()
    assert (found.verdict, found.fix) == ("warn", "stratum-git install --scope project")
    assert f"it is 0.0.1, and this is {__version__}" in found.detail
    (patient.bin / "stratum-git").unlink()
    assert brief(patient.servers()) == [("fail", "pipx install stratum-git")]


@pytest.mark.parametrize("place", ["repo", "elsewhere", "module", "environment", "relative"])
def test_nothing_is_started_that_only_seems_to_be_ours(patient: Patient, place: str) -> None:
    inside = patient.trap(patient.shell.repo.path / "bin/stratum-git")
    outside = patient.trap(patient.shell.home / "other/stratum-git")
    rows: dict[str, dict[str, Any]] = {
        "repo": {**OWN, "command": inside},
        "elsewhere": {**OWN, "command": outside},
        "module": {"command": inside, "args": ["-m", "stratum_git", "mcp"]},
        "environment": {**OWN, "env": {"PYTHONPATH": "."}},
        "relative": {**OWN, "command": "bin/stratum-git"},
    }
    patient.serves(rows[place])
    (found,) = patient.servers()
    assert (found.verdict, "not started, since" in found.detail) == ("warn", True), found
    assert not patient.canary.exists()


def test_entries_that_no_client_uses_are_told(patient: Patient) -> None:
    patient.serves(OWN, ".claude/mcp.json")
    assert brief(patient.servers())[1:] == [("warn", "stratum-git install")]
    patient.serves({"command": "stratum-mcp"})
    assert brief(patient.servers())[0] == ("warn", "claude mcp remove stratum")
    patient.shell.repo.write(".mcp.json", '{"mcpServers": {},}')
    assert brief(patient.servers())[0] == ("fail", f"$EDITOR {patient.shell.repo.path}/.mcp.json")
    patient.program("stratum-git", SPEAKS.replace("0.0.1", __version__))
    patient.serves(OWN)
    patient.shell.repo.write(".claude/settings.local.json", '{"disabledMcpjsonServers": ["stratum"]}')
    assert ("warn", "claude mcp reset-project-choices") in brief(patient.servers())


def test_entries_of_every_scope_are_found(patient: Patient) -> None:
    patient.program("stratum-git", SPEAKS.replace("0.0.1", __version__))
    home = Path(patient.around.environment["HOME"])
    projects = {str(patient.shell.repo.path): {"mcpServers": {"here": OWN}}}
    places = {"stratum@x": [{"installPath": str(home / "plugin")}]}
    rows: dict[str, object] = {
        ".claude.json": {"mcpServers": {"mine": OWN}, "projects": projects},
        ".claude/settings.json": {"enabledPlugins": {"stratum@x": True}},
        ".claude/plugins/installed_plugins.json": {"plugins": places},
        "plugin/.claude-plugin/plugin.json": {"name": "stratum", "mcpServers": {"plugged": OWN}},
    }
    for name, row in rows.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(json.dumps(row))
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text('[mcp_servers.coded]\ncommand = "stratum-git"\nargs = ["mcp"]\n')
    command = {"type": "local", "command": ["stratum-git", "mcp"]}
    patient.shell.repo.write("opencode.json", json.dumps({"mcp": {"open": command}}))
    found = [(one.check, one.verdict) for one in patient.servers()]
    assert found == [(f"MCP server {name}", "ok") for name in ("here", "mine", "plugged", "coded", "open")]
    (home / ".codex/config.toml").write_text("mine = [")
    assert ("fail", f"$EDITOR {home}/.codex/config.toml") in brief(patient.servers())


# --- hooks ------------------------------------------------------------------------------------------------


def registered(*names: str) -> dict[str, Any]:
    group = [{"hooks": [{"type": "command", "command": f"stratum-git hook {name}"} for name in names]}]
    return {"hooks": {"Stop": group}}


@pytest.mark.parametrize(
    ("row", "verdict", "part"),
    [
        ('{"hooks": {} // mine\n}', "fail", "ignores the whole file silently"),
        ({"hooks": {"PreToolUse": [{"command": "x", "args": []}]}}, "fail", "ignores the WHOLE file"),
        ({"hooks": {"PreToolUse": {}}}, "fail", "ignores the WHOLE file"),
        ({"hooks": {"Stop": [{"hooks": [{"type": "shell"}]}]}}, "warn", "leaves this one out"),
        ({"hooks": {"Stop": [{"hooks": [{"type": "command"}]}]}}, "warn", "leaves this one out"),
        ({"hooks": []}, "fail", "ignores the WHOLE file"),
    ],
)
def test_settings_that_the_client_does_not_read_are_told(
    patient: Patient, row: object, verdict: str, part: str
) -> None:
    patient.settings(row)
    found, *_ = patient.hooks()
    assert (found.verdict, part in found.hint) == (verdict, True), found
    assert found.fix == f"$EDITOR {patient.shell.repo.path}/.claude/settings.json"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[1]", '{"hooks": 3}', '{"mcpServers": {"a": 1}, "x": "\\ud800"}', None]
)
def test_files_that_make_no_sense_are_no_trouble(patient: Patient, text: str | None) -> None:
    (patient.shell.repo.path / ".claude").mkdir()
    for name in (".mcp.json", ".claude/settings.json"):
        if text is None:
            os.mkfifo(patient.shell.repo.path / name)
        else:
            patient.shell.repo.write(name, text)
    found = [*patient.servers(), *patient.hooks()]
    odd = text is not None and "mcpServers" in text
    assert all(one.detail for one in found)
    assert any(one.verdict == "fail" for one in found) != odd


def test_hooks_are_asked_as_the_client_asks_them(patient: Patient) -> None:
    assert brief(patient.hooks()) == [("ok", "stratum-git install")]
    patient.settings(registered(*hooks.shipped_names()))
    (found,) = patient.hooks()
    assert found.detail.startswith(f"{len(hooks.shipped_names())} hooks answer"), found


def test_hooks_that_do_nothing_are_told(patient: Patient) -> None:
    patient.program("stratum-git", '#!/bin/sh\n[ "$2" = stop ] && { echo broken; exit 3; }\nexit 0\n')
    patient.settings(registered("stop", "session-start", "dance"))
    found = {one.detail: one for one in patient.hooks()}
    assert "registered and not known any more: dance" in found
    assert any(detail.startswith("shipped and not registered: post-tool-use,") for detail in found)
    assert found["it ended with 3: broken"].check == "hook stop"
    assert any(detail.startswith("1 hooks answer") for detail in found)
    patient.settings({**registered("stop"), "disableAllHooks": True})
    assert any("no hook runs" in one.detail for one in patient.hooks())
    gone = {"type": "command", "command": "/no/such/stratum-git hook stop"}
    patient.settings({"hooks": {"Stop": [{"hooks": [gone]}]}})
    assert ("fail", "stratum-git install") in brief(patient.hooks())
    (patient.bin / "stratum-git").unlink()
    patient.settings(registered("stop"))
    assert ("fail", "pipx install stratum-git") in brief(patient.hooks())


def test_hooks_of_the_plugin_count(patient: Patient) -> None:
    patient.program("stratum-git", "#!/bin/sh\nexit 0\n")
    home = Path(patient.around.environment["HOME"])
    plugin = home / "plugin"
    patient.obeyed(f"{' '.join(PROGRAM)} install --plugin {plugin}")
    (home / ".claude/plugins").mkdir(parents=True)
    (home / ".claude/settings.json").write_text('{"enabledPlugins": {"stratum@stratum-git": true}}')
    listed = {"plugins": {"stratum@stratum-git": [{"installPath": str(plugin)}]}}
    (home / ".claude/plugins/installed_plugins.json").write_text(json.dumps(listed))
    assert [(one.check, one.verdict) for one in patient.hooks()] == [("plugin", "ok"), ("hooks", "ok")]
    (plugin / "hooks" / "stop").chmod(0o600)
    manifest = plugin / ".claude-plugin/plugin.json"
    manifest.write_text(manifest.read_text().replace(__version__, "0.0.1"))
    patient.settings(registered("stop"))
    update = "claude plugin update stratum@stratum-git"
    assert brief(patient.hooks())[:3] == [
        ("warn", update),
        ("fail", update),
        ("warn", "stratum-git uninstall"),
    ]


def test_what_settings_name_is_not_started(patient: Patient) -> None:
    trap = patient.trap(patient.shell.repo.path / "bin/stratum-git")
    (patient.bin / "stratum-git").unlink()
    bad = {"type": "command", "command": f"{trap} hook stop; touch {patient.canary}"}
    patient.settings({"hooks": {"Stop": [{"hooks": [bad]}]}})
    assert ("warn", "stratum-git install") in brief(patient.hooks())
    assert not patient.canary.exists()


# --- what is installed ------------------------------------------------------------------------------------


def test_what_is_installed_is_compared_with_what_is_shipped(patient: Patient) -> None:
    def looked() -> list[Finding]:
        return list(installed.installed(patient.around, patient.around.repository()))

    assert looked() == []
    patient.obeyed("stratum-git install")
    assert [(one.check, one.verdict) for one in looked()] == [("installed (project)", "ok")]
    skill = patient.shell.repo.path / ".claude/skills/stratum-plan/SKILL.md"
    skill.unlink()
    (found,) = looked()
    assert (found.verdict, found.fix) == ("warn", "stratum-git install --scope project")
    assert str(skill) in found.detail
    patient.obeyed(found.fix)
    assert [one.verdict for one in looked()] == ["ok"]
    skill.write_text("mine\n")
    assert any("was changed by somebody" in one.detail for one in looked())
    patient.settings("{,}")
    assert any(one.verdict == "fail" for one in looked())
