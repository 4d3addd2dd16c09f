"""What was installed, in the real client: it takes the files, starts the server, runs hooks, lists skills.

No model is needed: what a session has it says before it asks one, and here there is none to be asked.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stratum_git.resources import PACKAGE
from tests.support.shell import PROGRAM, Shell

ROOT = PACKAGE.parent
SKILLS = sorted(path.parent.name for path in (PACKAGE / "plugin/skills").glob("*/SKILL.md"))
AGENTS = sorted(path.stem for path in (PACKAGE / "plugin/agents").glob("*.md"))
QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING", "IS_SANDBOX",
)  # fmt: skip
NOWHERE = "http://127.0.0.1:9"


def client(version: str, program: str = "@anthropic-ai/claude-code-linux-x64/claude") -> Path:
    """Returns a client; skips the test where it is not installed."""
    # The tests' own home is another one.
    shelf = os.environ.get("REAL_CLIENTS", Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache/real-clients"))
    path = Path(shelf, version, "node_modules", program)
    found = str(path) if path.is_file() else shutil.which(path.name) if version != "cc" else None
    if found is None:
        pytest.skip(f"{path.name} is not installed: {path}")
    return Path(found)


@dataclass
class Session:
    """A user of the client, and a program that notes what it is started for."""

    shell: Shell
    path: Path
    log: Path

    def run(self, *words: str, code: int = 0) -> str:
        """Runs the client without a network; returns what it printed."""
        environment = {
            **dict.fromkeys(QUIET, "1"), "PATH": f"{self.log.parent}:{os.environ['PATH']}",
            "HOME": str(self.shell.home), "ANTHROPIC_API_KEY": "none", "ANTHROPIC_BASE_URL": NOWHERE,
            "HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE, "CLAUDE_CODE_MAX_RETRIES": "0",
            "XDG_STATE_HOME": str(self.shell.home / "state"),
        }  # fmt: skip
        done = subprocess.run(
            [str(self.path), *words], cwd=self.shell.repo.path, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def begin(self) -> dict[str, Any]:
        """Begins a session, which ends for want of a model; returns what it says that it has."""
        said = self.run("-p", "hi", "--output-format", "stream-json", "--verbose", code=1)
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        found: dict[str, Any] = next(row for row in rows if row.get("subtype") == "init")
        return found

    def noted(self) -> set[str]:
        return set(self.log.read_text().splitlines()) if self.log.exists() else set()


def session(shell: Shell, version: str, *program: str) -> Session:
    """Returns a user of a client, whose program is this one but for the hooks, which are only noted."""
    path, log = client(version, *program), shell.home / "bin" / "log"
    log.parent.mkdir()
    script = log.with_name("stratum-git")
    run = " ".join(PROGRAM)
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {log}\n[ "$1" = hook ] || PYTHONPATH={ROOT} exec {run} "$@"\n'
    )
    script.chmod(0o755)
    return Session(shell, path, log)


@pytest.mark.parametrize("version", ["cc_latest", pytest.param("cc", marks=pytest.mark.soak)])
def test_a_plugin_from_a_folder(shell: Shell, version: str) -> None:
    user, folder = session(shell, version), str(shell.home / "plugin")
    assert shell.run("install", "--plugin", folder, "--program", "stratum-git").code == 0
    for place in (folder, str(ROOT), f"{ROOT}/.claude-plugin/plugin.json"):
        assert "Validation passed" in user.run("plugin", "validate", place, "--strict")
    if version != "cc_latest":
        return
    user.run("plugin", "marketplace", "add", folder)
    user.run("plugin", "install", "stratum@stratum-git")
    has = user.begin()
    assert {f"stratum:{name}" for name in SKILLS} <= set(has["skills"])
    assert {f"stratum:{name}" for name in AGENTS} <= set(has["agents"])
    assert "plugin:stratum:stratum" in [server["name"] for server in has["mcp_servers"]]
    assert {"hook session-start", "mcp"} <= user.noted()


@pytest.mark.parametrize("version", ["cc_latest", pytest.param("cc", marks=pytest.mark.soak)])
def test_a_project(shell: Shell, version: str) -> None:
    user = session(shell, version)
    assert shell.run("install", "--program", "stratum-git").code == 0
    has = user.begin()
    assert set(SKILLS) <= set(has["skills"])
    assert set(AGENTS) <= set(has["agents"])
    assert [server["name"] for server in has["mcp_servers"]] == ["stratum"]
    assert {"hook session-start", "mcp"} <= user.noted()
    if version == "cc_latest":
        assert "Invalid" not in user.run("doctor")


@pytest.mark.soak
def test_a_server_of_the_users_own_connects_and_goes(shell: Shell) -> None:
    user = session(shell, "cc_latest")
    user.run("mcp", "add", "-s", "local", "other", "--", "true")
    shell.run("install", "--scope", "local", "--program", "stratum-git")
    listed = user.run("mcp", "list")
    assert "stratum: stratum-git mcp - ✔ Connected" in listed
    assert "other: true" in listed
    assert shell.run("uninstall", "--scope", "local").code == 0
    assert "stratum" not in (shell.home / ".claude.json").read_text()


@pytest.mark.soak
def test_codex_takes_what_is_printed_for_it(shell: Shell) -> None:
    user = session(shell, "cc_codex", ".bin/codex")
    entry = shell.run("install", "--print", "codex", "--program", "stratum-git").out
    shell.file(".codex/config.toml", entry)
    assert re.search(r"stratum +stratum-git +mcp .*enabled", user.run("mcp", "list"))


@pytest.mark.soak
def test_opencode_takes_what_is_printed_for_it(shell: Shell) -> None:
    user = session(shell, "cc_oc", ".bin/opencode")
    entry = shell.run("install", "--print", "opencode", "--program", "stratum-git").out
    (shell.repo.path / "opencode.json").write_text(entry)
    assert re.search(r"✓ stratum.*connected", user.run("mcp", "list"))
