"""The entries of MCP servers that Claude Code would read here, of every scope, and of plugins."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.files import read_bounded
from stratum_git.git.repository import Repository
from stratum_git.install.documents import document
from stratum_git.install.places import Scope, main_root
from stratum_git.install.refusing import Unusable
from stratum_git.model.ids import Json

LARGEST = 32 * 1024 * 1024
PLUGIN = "stratum"


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of some name in a file. ``scope`` is ``plugin`` for what a plugin brings."""

    name: str
    scope: Scope | str
    file: Path
    row: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that a client cannot read: so it goes on as if it were not there."""

    file: Path
    why: str
    hint: str


def config_home(around: Surroundings) -> Path:
    """Returns the folder of the client's own settings."""
    given = around.environment.get("CLAUDE_CONFIG_DIR")
    return Path(given).absolute() if given else Path(around.environment.get("HOME") or "/") / ".claude"


def entries(around: Surroundings, repo: Repository | None) -> Iterator[Entry | Broken]:
    """Yields the servers of all scopes, and the files that cannot be read."""
    found = [_of_project(folder) for folder in (around.cwd, *around.cwd.parents)]
    for file in [path for path in found if path is not None]:
        yield from _servers(file, "project", ("mcpServers",))
    given = around.environment.get("CLAUDE_CONFIG_DIR")
    home = Path(given).absolute() if given else Path(around.environment.get("HOME") or "/")
    state = home / ".claude.json"
    if repo is not None:
        yield from _servers(state, "local", ("projects", str(_root(repo)), "mcpServers"))
    yield from _servers(state, "user", ("mcpServers",))
    for place in plugins(around):
        yield from _of_plugin(place)
    yield from _of_codex(around)
    yield from _of_opencode(around)


def read_object(file: Path) -> Mapping[str, Json] | Broken | None:
    """Returns a JSON object, ``None`` where there is no file; a broken one says what is wrong with it."""
    try:
        # Whoever wrote the repository wrote this: it may be a pipe that nobody ever writes to.
        if not stat.S_ISREG(file.stat().st_mode):
            return Broken(file, "it is no file", "move it away")
        data = read_bounded(file, LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Broken(file, f"it cannot be read: {error.strerror or error}", "see its permissions")
    try:
        document(data)
        row = json.loads(data.decode("utf-8-sig")) if data.strip() else {}
    except Unusable as error:
        return Broken(file, error.why, error.hint)
    except (ValueError, RecursionError) as error:
        return Broken(file, f"it is not JSON: {error}", "mend it")
    return row if isinstance(row, dict) else Broken(file, "it is no JSON object", "make it one: {}")


def _of_project(folder: Path) -> Path | None:
    file = folder / ".mcp.json"
    return file if file.exists() else None


def _servers(file: Path, scope: str, keys: tuple[str, ...]) -> Iterator[Entry | Broken]:
    row = read_object(file)
    if isinstance(row, Broken):
        # Two scopes are in one file: it is told once.
        if scope != "local":
            yield row
        return
    holder: Json = dict(row or {})
    for key in keys:
        holder = holder.get(key) if isinstance(holder, dict) else None
    for name, entry in holder.items() if isinstance(holder, dict) else ():
        if isinstance(entry, dict):
            yield Entry(name, scope, file, entry)


def plugins(around: Surroundings) -> Iterator[Path]:
    """Yields where our plugin lies, where it is installed and not switched off."""
    folder = config_home(around)
    settings = read_object(folder / "settings.json")
    enabled = settings.get("enabledPlugins") if isinstance(settings, dict) else None
    listed = read_object(folder / "plugins" / "installed_plugins.json")
    found = listed.get("plugins") if isinstance(listed, dict) else None
    for name, places in found.items() if isinstance(found, dict) else ():
        on = isinstance(enabled, dict) and enabled.get(name) is True
        if name.partition("@")[0] != PLUGIN or not on or not isinstance(places, list):
            continue
        for place in places:
            where = place.get("installPath") if isinstance(place, dict) else None
            if isinstance(where, str):
                yield Path(where)


def _of_plugin(place: Path) -> Iterator[Entry | Broken]:
    for file in (place / ".claude-plugin" / "plugin.json", place / ".mcp.json"):
        row = read_object(file)
        if isinstance(row, Broken):
            yield row
        elif row is not None:
            yield from _servers(file, "plugin", ("mcpServers",))


def _of_codex(around: Surroundings) -> Iterator[Entry | Broken]:
    home = around.environment.get("CODEX_HOME") or f"{around.environment.get('HOME') or '/'}/.codex"
    file = Path(home) / "config.toml"
    try:
        row = tomllib.loads(read_bounded(file, LARGEST).decode())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, StratumError, ValueError) as error:
        yield Broken(file, f"codex cannot read it: {error}", "mend it")
        return
    listed = row.get("mcp_servers")
    for name, entry in listed.items() if isinstance(listed, dict) else ():
        if isinstance(entry, dict) and entry.get("enabled", True) is not False:
            yield Entry(str(name), "codex", file, entry)


def _of_opencode(around: Surroundings) -> Iterator[Entry | Broken]:
    home = Path(around.environment.get("HOME") or "/")
    folder = Path(around.environment.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"
    for file in (folder / "opencode.json", around.cwd / "opencode.json"):
        row = read_object(file)
        # It takes comments, so what is no JSON here may be right there.
        listed = row.get("mcp") if isinstance(row, dict) else None
        for name, entry in listed.items() if isinstance(listed, dict) else ():
            words = entry.get("command") if isinstance(entry, dict) else None
            if isinstance(words, list) and words and entry.get("enabled", True) is not False:
                given = {"command": words[0], "args": words[1:], "env": entry.get("environment")}
                yield Entry(name, "opencode", file, given)


def _root(repo: Repository) -> Path:
    try:
        return main_root(repo)
    except StratumError:
        return repo.root
