"""What the settings say of agents, and what is told of settings that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.agents.base import AgentSpec
from stratum_git.agents.kinds import agent_of
from stratum_git.app.agent_settings import agent_option
from stratum_git.app.config import read_config
from stratum_git.app.settings import ConfigError

ALL = """
agents:
  writer:
    kind: claude
    model: opus
    profile: verification
    tools: [Read, "Bash(git log:*)", mcp__docs__find]
    mcp_config: .stratum/mcp.json
    turns: 50
    usd: 2.5
    resumes: off
    command: [npx, claude]
    timeout: 1800
    env: {LEVEL: 3}
    hooks: [pre-commit]
    secrets: [API_KEY]
  bare: {kind: codex}
  old: {command: "sh -c 'true'"}
"""


def written(root: Path, text: str) -> Path:
    (root / ".stratum").mkdir()
    (root / ".stratum/config.yaml").write_text(text)
    return root


def test_an_agent_is_what_the_settings_say(tmp_path: Path) -> None:
    agents = read_config(written(tmp_path, ALL)).agents

    assert agents == {
        "writer": AgentSpec(
            name="writer",
            command=("npx", "claude"),
            timeout=1800,
            env={"LEVEL": "3"},
            hooks=("pre-commit",),
            secrets=("API_KEY",),
            kind="claude",
            model="opus",
            profile="verification",
            tools=("Read", "Bash(git log:*)", "mcp__docs__find"),
            mcp_config=str(tmp_path / ".stratum/mcp.json"),
            turns=50,
            usd=2.5,
            resumes=False,
        ),
        "bare": AgentSpec(name="bare", command=(), kind="codex"),
        "old": AgentSpec(name="old", command=("sh", "-c", "true")),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kind: gemini", "a.kind is not one of command, claude, codex, opencode, api"),
        ("model: opus", "a.model is for agents of a known kind"),
        ("{kind: claude, model: [x]}", "a.model is not the name of a model"),
        ("{kind: claude, model: --resume}", "a.model is not the name of a model"),
        ("{kind: claude, profile: readonly}", "a.profile is not one of general, verification"),
        ("{kind: claude, tools: Bash}", "a.tools is not a list of tools"),
        ("{kind: claude, tools: [--model]}", "a.tools is not a list of tools"),
        ("{kind: claude, mcp_config: {}}", "a.mcp_config is not a path"),
        ("{kind: claude, turns: 1.5}", "a.turns is not a number of answers"),
        ("{kind: claude, turns: 0}", "a.turns is not a number of answers"),
        ("{kind: claude, usd: free}", "a.usd is not a number of dollars"),
        ("{kind: claude, resumes: maybe}", "a.resumes is not on or off"),
        ("{kind: claude, command: []}", "a.command is not a list of words"),
        ("{kind: claude, color: red}", "agents.a has no color"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    row = line if line.startswith("{") else f"{{command: [x], {line}}}"
    with pytest.raises(ConfigError) as caught:
        read_config(written(tmp_path, f"radar: on\nagents:\n  a:\n    {row}\n"))

    assert said in caught.value.message
    assert "config.yaml, line 4: agents.a" in caught.value.message


@pytest.mark.parametrize("kind", ["claude", "codex", "opencode", "api"])
def test_one_word_that_is_a_kind_is_an_agent_of_that_kind(kind: str) -> None:
    assert agent_option(f"default={kind}") == AgentSpec(name="default", command=(), kind=kind)  # type: ignore[arg-type]  # they are
    assert agent_option(f"default={kind} -p").command == (kind, "-p")
    assert agent_option("default=command").kind == "command"


def test_a_client_that_is_not_there_is_told_with_what_installs_it() -> None:
    problem = agent_of(agent_option("default=claude"), {"PATH": "/nowhere"}).problem()

    assert problem == (
        "the agent default wants to run claude, and there is no such program; "
        "npm install -g @anthropic-ai/claude-code installs it"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("{", "cannot be read"), ("[]", "has no mcpServers")],
)
def test_servers_that_are_not_there_are_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "mcp.json"
    if text is not None:
        file.write_text(text)
    spec = AgentSpec("a", ("true",), kind="claude", mcp_config=str(file))

    problem = agent_of(spec, {"PATH": "/bin:/usr/bin"}).problem()

    assert problem is not None
    assert str(file) in problem
    assert said in problem
