"""The project's own settings, ``.stratum/config.yaml``: agents, and where slots lie.

::

    agents:
      writer:
        command: [claude, -p]
        timeout: 1800
        env: {MODEL: opus}
        hooks: [pre-commit]       # of the user's git hooks; or inherit, the default, or off
        fence: on                 # off: its git may move every branch
        secrets: [API_KEY]        # variables whose values are written nowhere
    slots:
      root: /fast-disk/stratum
      keep: 8
    merge_drivers:
      jq-merge:
        command: [jq-merge, "%O", "%A", "%B"]  # leaves its result in %A, as git's drivers do
        files: ["*.json"]
        timeout: 10
      mergiraf: off             # else it is used where it is on PATH
    retention: 30d
    radar: on                   # off: nobody looks for collisions while agents are at work
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from stratum_git.agents.base import DRIVER_TIMEOUT, AgentSpec, DriverSpec
from stratum_git.core.yaml_nodes import plain, read_yaml
from stratum_git.errors import UserError
from stratum_git.git.files import TooLargeError, read_bounded
from stratum_git.model.ids import Hooks, Json

FILE = Path(".stratum/config.yaml")
LIMIT = 256 * 1024
ALONE = re.compile(r"[A-Za-z0-9_.:/=-]*%P")
"""A word of a command in which a path is no part of a script."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ConfigError(UserError):
    """The settings are not what they should be."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings; absent ones have their defaults."""

    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    slots_root: Path | None = None
    slots_keep: int = 8
    retention: str = "30d"
    drivers: Mapping[str, DriverSpec | None] = field(default_factory=dict)
    """Merge drivers by name; ``None`` is one that is not to be used."""
    radar: bool = True


def read_config(root: Path) -> Config:
    """Returns the settings of the project at *root*; raises ConfigError."""
    path = root / FILE
    try:
        # Whoever wrote the repository wrote this: it may be a link to a device, or a pipe.
        text = read_bounded(path, LIMIT).decode()
    except FileNotFoundError:
        return Config()
    except TooLargeError as error:
        raise ConfigError(f"{path} is larger than {LIMIT} bytes") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return _config(path, _parsed(path, text))


def agent_option(text: str) -> AgentSpec:
    """Returns the agent of an option ``NAME=COMMAND``; the command is split as a shell splits words."""
    name, equals, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"--agent {text}: {error}") from error
    if not equals or not name or not words:
        raise ConfigError(
            f"--agent {text} is not NAME=COMMAND", hint="for example --agent default='claude -p'"
        )
    return AgentSpec(name=name, command=words, timeout=None, env={})


def _parsed(path: Path, text: str) -> object:
    if not any(line.partition("#")[0].strip() for line in text.splitlines()):
        return None
    # As bounded as a spec: neither its depth nor its aliases can exhaust anything.
    tree = read_yaml(text)
    if tree.root is None or tree.problems:
        first = tree.problems[0]
        raise ConfigError(f"{path}, line {first.line}: {first.message}", hint=first.hint)
    return plain(tree.root)


def _config(path: Path, data: object) -> Config:
    known = ("agents", "slots", "merge_drivers", "retention", "radar")
    top = _mapping(path, "the file", {} if data is None else data, known)
    agents = _mapping(path, "agents", top.get("agents") or {}, None)
    slots = _mapping(path, "slots", top.get("slots") or {}, ("root", "keep"))
    root, keep = slots.get("root"), slots.get("keep", 8)
    if not isinstance(keep, int) or isinstance(keep, bool) or keep < 0:
        raise ConfigError(f"{path}: slots.keep is not a number of slots")
    if root is not None and not isinstance(root, str):
        raise ConfigError(f"{path}: slots.root is not a path")
    return Config(
        agents={name: _agent(path, name, value) for name, value in agents.items()},
        slots_root=None if root is None else _place(path, root),
        slots_keep=keep,
        retention=str(top.get("retention") or "30d"),
        drivers=_drivers(path, top.get("merge_drivers") or {}),
        radar=_is_on(path, "radar", top.get("radar", True)),
    )


def _agent(path: Path, name: str, value: object) -> AgentSpec:
    where = f"agents.{name}"
    row = _mapping(path, where, value, ("command", "timeout", "env", "hooks", "fence", "secrets"))
    env = row.get("env") or {}
    words, timeout = _command(path, where, row), _timeout(path, where, row)
    if not isinstance(env, dict) or not all(isinstance(v, str | int | float) for v in env.values()):
        raise ConfigError(f"{path}: {where}.env is not a map of names to values")
    wrong = next((key for key in env if not key or "=" in key), None)
    if wrong is not None:
        raise ConfigError(f"{path}: {where}.env: {wrong!r} cannot be the name of a variable")
    hooks = _hooks(path, where, row.get("hooks", "inherit"))
    fence = _is_on(path, f"{where}.fence", row.get("fence", True))
    if hooks != "inherit" and not fence:
        raise ConfigError(f"{path}: {where}.hooks is what the fence does, and {where}.fence is off")
    return AgentSpec(
        name=name,
        command=words,
        timeout=timeout,
        env={str(key): str(item) for key, item in env.items()},
        hooks=hooks,
        fence=fence,
        secrets=_secrets(path, where, row.get("secrets") or []),
    )


def _drivers(path: Path, value: Json) -> dict[str, DriverSpec | None]:
    rows = _mapping(path, "merge_drivers", value, None)
    # YAML reads a bare `off` as a truth value.
    return {name: None if row in (False, "off") else _driver(path, name, row) for name, row in rows.items()}


def _driver(path: Path, name: str, value: Json) -> DriverSpec:
    where = f"merge_drivers.{name}"
    row = _mapping(path, where, value, ("command", "files", "timeout"))
    words, timeout, files = _command(path, where, row), _timeout(path, where, row), row.get("files")
    if not isinstance(files, list) or not files or not all(isinstance(one, str) and one for one in files):
        raise ConfigError(f'{path}: {where}.files is not a list of patterns, such as "*.json"')
    if "%A" not in " ".join(words):
        hint = "it has to leave its result in the file %A; the others are %O, as it was, and %B"
        raise ConfigError(f"{path}: {where}.command does not name %A", hint=hint)
    if any("%P" in word and not ALONE.fullmatch(word) for word in words):
        # Whoever names a file would have a shell do what its name says.
        hint = 'give it as a word of its own: [sh, -c, \'tool "$1"\', sh, "%P"]'
        raise ConfigError(f"{path}: {where}.command has %P among other words", hint=hint)
    patterns = tuple(str(one) for one in files)
    return DriverSpec(name, words, patterns, DRIVER_TIMEOUT if timeout is None else timeout)


def _command(path: Path, where: str, row: Mapping[str, Json]) -> tuple[str, ...]:
    command = row.get("command")
    words = _words(command) if isinstance(command, str) else command
    if not isinstance(words, Sequence) or not words or not all(isinstance(w, str) for w in words):
        raise ConfigError(f"{path}: {where}.command is not a list of words")
    return tuple(cast("Sequence[str]", words))


def _timeout(path: Path, where: str, row: Mapping[str, Json]) -> float | None:
    timeout = row.get("timeout")
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise ConfigError(f"{path}: {where}.timeout is not a number of seconds")
    return timeout


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


def _place(path: Path, root: str) -> Path:
    """Returns where slots are to lie: a path that means the same wherever the program was started."""
    try:
        place = Path(root).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: slots.root: {root}: there is no such user") from error
    if not place.is_absolute():
        hint = "write the whole path, or one that begins with ~"
        raise ConfigError(f"{path}: slots.root is {root}, which is not an absolute path", hint=hint)
    return place


def _hooks(path: Path, where: str, value: Json) -> Hooks:
    # YAML reads a bare `off` as a truth value.
    if value is False or value == "off":
        return "off"
    if value == "inherit":
        return "inherit"
    if isinstance(value, list) and all(isinstance(name, str) and name and "/" not in name for name in value):
        return tuple(str(name) for name in value)
    raise ConfigError(f"{path}: {where}.hooks is not inherit, off or a list of hooks")


def _secrets(path: Path, where: str, value: Json) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(name, str) and VARIABLE.fullmatch(name) for name in value):
        return tuple(map(str, value))
    raise ConfigError(
        f"{path}: {where}.secrets is not a list of variables", hint="name them, not their values"
    )


def _is_on(path: Path, where: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"on", "off"}:
        return value == "on"
    raise ConfigError(f"{path}: {where} is not on or off")


def _mapping(path: Path, where: str, value: object, known: Sequence[str] | None) -> dict[str, Json]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{path}: {where} is not a map")
    unknown = [key for key in value if known is not None and key not in known]
    if unknown:
        raise ConfigError(f"{path}: {where} has no {unknown[0]}", hint=f"known: {', '.join(known or ())}")
    return cast("dict[str, Json]", value)
