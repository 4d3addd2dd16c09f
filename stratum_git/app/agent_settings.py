"""The agents of the settings, and of options.

::

    agents:
      writer:
        kind: claude              # or codex, opencode, api; without it: any command
        model: opus
        profile: general          # or verification: it only reads
        tools: [Bash, WebFetch]   # what it may use; else what its profile allows
        mcp_config: .stratum/mcp.json  # its own MCP servers; else it has none
        turns: 50                 # limits of one attempt
        usd: 2.5
        resumes: on               # off: a retry begins a new conversation
        command: [npx, claude]    # else the program of its kind
        timeout: 1800
        env: {LEVEL: high}
        hooks: [pre-commit]       # of the user's git hooks; or inherit, the default, or off
        fence: on                 # off: its git may move every branch
        secrets: [API_KEY]        # variables whose values are written nowhere
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import cast, get_args

from stratum_git.agents.base import AgentKind, AgentSpec, Profile
from stratum_git.app.settings import ConfigError, Section
from stratum_git.model.ids import Hooks

KINDS: tuple[str, ...] = get_args(AgentKind)
PROFILES: tuple[str, ...] = get_args(Profile)
ANY = ("kind", "command", "timeout", "env", "hooks", "fence", "secrets")
KNOWN = ("model", "profile", "tools", "mcp_config", "turns", "usd", "resumes")
"""What only kinds have that are known by name."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TOOL = re.compile(r"[A-Za-z_][\w.-]*(\(.*\))?", re.DOTALL)


def agent_of_settings(section: Section, name: str, root: Path) -> AgentSpec:
    """Returns the agent that a section describes; paths begin at *root*. Raises ConfigError."""
    section.rows((*ANY, *KNOWN))
    kind = _kind(section)
    hooks, fence = _hooks(section), section.is_on("fence")
    if hooks != "inherit" and not fence:
        raise section.wrong("hooks", f" is what the fence does, and {section.name}.fence is off")
    words = section.words("command") if kind == "command" or section.get("command") is not None else ()
    turns = section.number("turns", "answers of the model", whole=True)
    return AgentSpec(
        name=name,
        command=words,
        timeout=section.number("timeout", "seconds"),
        env=_env(section),
        hooks=hooks,
        fence=fence,
        secrets=_secrets(section),
        kind=kind,
        model=_model(section),
        profile=_profile(section),
        tools=_tools(section),
        mcp_config=_file(section, root),
        turns=None if turns is None else int(turns),
        usd=section.number("usd", "dollars"),
        resumes=section.is_on("resumes"),
    )


def agent_option(text: str) -> AgentSpec:
    """Returns the agent of an option: ``NAME=KIND``, or ``NAME=COMMAND``, split as a shell splits words."""
    name, equals, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"--agent {text}: {error}") from error
    if not equals or not name or not words:
        hint = "for example --agent default=claude, or --agent default='sh do-it.sh'"
        raise ConfigError(f"--agent {text} is not NAME=COMMAND", hint=hint)
    if len(words) == 1 and words[0] in KINDS and words[0] != "command":
        return AgentSpec(name=name, command=(), kind=cast("AgentKind", words[0]))
    return AgentSpec(name=name, command=words)


def _kind(section: Section) -> AgentKind:
    kind = section.get("kind") or "command"
    if kind not in KINDS:
        raise section.wrong("kind", f" is not one of {', '.join(KINDS)}")
    given = [name for name in KNOWN if section.get(name) is not None]
    if kind == "command" and given:
        hint = f"say what it is: `kind: {KINDS[1]}`, for example; to a command, give words of its own"
        raise section.wrong(given[0], " is for agents of a known kind, and this is a command", hint)
    return cast("AgentKind", kind)


def _model(section: Section) -> str | None:
    model = section.text("model", "the name of a model")
    if model is not None and (model.startswith("-") or len(model.split()) != 1):
        raise section.wrong("model", " is not the name of a model")
    return model


def _profile(section: Section) -> Profile:
    profile = section.get("profile") or "general"
    if profile not in PROFILES:
        raise section.wrong("profile", f" is not one of {', '.join(PROFILES)}")
    return cast("Profile", profile)


def _tools(section: Section) -> tuple[str, ...]:
    tools = section.texts("tools", "tools")
    if not all(map(TOOL.fullmatch, tools)):
        raise section.wrong("tools", " is not a list of tools", 'such as [Read, "Bash(git log:*)"]')
    return tools


def _file(section: Section, root: Path) -> str | None:
    text = section.text("mcp_config", "a path")
    if text is None:
        return None
    try:
        # A slot may have another one, or none; this is the one that was looked at before the run.
        return str(root / Path(text).expanduser())
    except RuntimeError as error:
        raise section.wrong("mcp_config", f": {text}: there is no such user") from error


def _env(section: Section) -> dict[str, str]:
    env = section.get("env") or {}
    if not isinstance(env, dict) or not all(isinstance(value, str | int | float) for value in env.values()):
        raise section.wrong("env", " is not a map of names to values")
    wrong = next((key for key in env if not key or "=" in key), None)
    if wrong is not None:
        raise section.wrong("env", f": {wrong!r} cannot be the name of a variable")
    return {str(key): str(item) for key, item in env.items()}


def _hooks(section: Section) -> Hooks:
    value = section.get("hooks")
    # YAML reads a bare `off` as a truth value.
    if value is False or value == "off":
        return "off"
    if value is None or value == "inherit":
        return "inherit"
    if isinstance(value, list) and all(isinstance(name, str) and name and "/" not in name for name in value):
        return tuple(str(name) for name in value)
    raise section.wrong("hooks", " is not inherit, off or a list of hooks")


def _secrets(section: Section) -> tuple[str, ...]:
    hint = "name them, not their values"
    names = section.texts("secrets", "variables", hint)
    if not all(map(VARIABLE.fullmatch, names)):
        raise section.wrong("secrets", " is not a list of variables", hint)
    return names
