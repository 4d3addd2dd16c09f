"""The project's own settings, ``.stratum/config.yaml``: agents, and where slots lie.

::

    agents: {...}               # see agent_settings.py
    slots:
      root: /fast-disk/stratum
      keep: 8
      rung: auto                # or how agents get their files: overlay, snapshot, warm, reflink, cold
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.agents.base import DRIVER_TIMEOUT, AgentSpec, DriverSpec
from stratum_git.app.agent_settings import agent_of_settings
from stratum_git.app.settings import ConfigError, Section
from stratum_git.core.yaml_nodes import Node, plain, read_yaml
from stratum_git.git.files import TooLargeError, read_bounded

FILE = Path(".stratum/config.yaml")
LIMIT = 256 * 1024
RUNGS = ("auto", "overlay", "snapshot", "warm", "reflink", "cold")
"""How slots get their files: the quickest way that there is, or this one and what is below it."""
ALONE = re.compile(r"[A-Za-z0-9_.:/=-]*%P")
"""A word of a command in which a path is no part of a script."""
FILES = 'such as ["*.json"]'


@dataclass(frozen=True, slots=True)
class Config:
    """The settings; absent ones have their defaults."""

    agents: Mapping[str, AgentSpec] = field(default_factory=dict)
    slots_root: Path | None = None
    slots_keep: int = 8
    slots_rung: str = "auto"
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
    return _config(root, _parsed(path, text))


def _parsed(path: Path, text: str) -> Section:
    if not any(line.partition("#")[0].strip() for line in text.splitlines()):
        return Section(path, "", Node({}, 1))
    # As bounded as a spec: neither its depth nor its aliases can exhaust anything.
    tree = read_yaml(text)
    if tree.root is None or tree.problems:
        first = tree.problems[0]
        raise ConfigError(f"{path}, line {first.line}: {first.message}", hint=first.hint)
    return Section(path, "", tree.root)


def _config(root: Path, top: Section) -> Config:
    if plain(top.node) is None:
        return Config()
    top.rows(("agents", "slots", "merge_drivers", "retention", "radar"))
    slots = top.part("slots")
    slots.rows(("root", "keep", "rung"))
    place, keep = slots.text("root", "a path"), slots.get("keep") if "keep" in slots.rows() else 8
    if not isinstance(keep, int) or isinstance(keep, bool) or keep < 0:
        raise slots.wrong("keep", " is not a number of slots")
    return Config(
        agents={name: agent_of_settings(part, name, root) for name, part in top.parts("agents")},
        slots_root=None if place is None else _place(slots, place),
        slots_keep=keep,
        slots_rung=_rung(slots),
        retention=str(top.get("retention") or "30d"),
        drivers={name: _driver(part, name) for name, part in top.parts("merge_drivers")},
        radar=top.is_on("radar"),
    )


def _driver(section: Section, name: str) -> DriverSpec | None:
    # YAML reads a bare `off` as a truth value.
    if plain(section.node) in (False, "off"):
        return None
    section.rows(("command", "files", "timeout"))
    words, timeout = section.words("command"), section.number("timeout", "seconds")
    files = section.texts("files", "patterns", FILES)
    if not files:
        raise section.wrong("files", " is not a list of patterns", FILES)
    if "%A" not in " ".join(words):
        hint = "it has to leave its result in the file %A; the others are %O, as it was, and %B"
        raise section.wrong("command", " does not name %A", hint)
    if any("%P" in word and not ALONE.fullmatch(word) for word in words):
        # Whoever names a file would have a shell do what its name says.
        hint = 'give it as a word of its own: [sh, -c, \'tool "$1"\', sh, "%P"]'
        raise section.wrong("command", " has %P among other words", hint)
    return DriverSpec(name, words, files, DRIVER_TIMEOUT if timeout is None else timeout)


def _rung(slots: Section) -> str:
    said = slots.text("rung", "a way to make slots") or "auto"
    if said not in RUNGS:
        raise slots.wrong("rung", f" is {said}, which is no way to make slots", f"known: {', '.join(RUNGS)}")
    return said


def _place(slots: Section, root: str) -> Path:
    """Returns where slots are to lie: a path that means the same wherever the program was started."""
    try:
        place = Path(root).expanduser()
    except RuntimeError as error:
        raise slots.wrong("root", f": {root}: there is no such user") from error
    if not place.is_absolute():
        hint = "write the whole path, or one that begins with ~"
        raise slots.wrong("root", f" is {root}, which is not an absolute path", hint)
    return place
