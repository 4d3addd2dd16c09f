"""The MCP servers that an agent is given: a file as Claude Code has it, for clients that have others.

::

    {"mcpServers": {"NAME": {"command": "program", "args": ["word"], "env": {"NAME": "value"}},
                    "OTHER": {"type": "http", "url": "https://...", "headers": {"NAME": "value"}}}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.core.strict_json import read_json
from stratum_git.errors import UserError
from stratum_git.model.ids import Json

LIMIT = 256 * 1024
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class McpConfigError(UserError):
    """The file with an agent's MCP servers is not what it should be."""


@dataclass(frozen=True, slots=True)
class Server:
    """An MCP server: a program with its words and environment, or a place on the network with its headers."""

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def read_servers(path: Path) -> tuple[Server, ...]:
    """Returns the servers in the file at *path*; raises McpConfigError."""
    try:
        data = read_json(bounded(path))
    except (OSError, ValueError) as error:
        raise McpConfigError(f"the MCP servers in {path} cannot be read: {error}") from error
    found = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise McpConfigError(f"{path} has no mcpServers")
    return tuple(_server(path, name, row) for name, row in found.items())


def bounded(path: Path) -> str:
    """Returns the text of a file of settings; raises OSError or ValueError when it is none, or too large."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise ValueError(f"{path} is larger than {LIMIT} bytes")
    return data.decode()


def _server(path: Path, name: str, row: Json) -> Server:
    if not NAME.fullmatch(name) or not isinstance(row, dict):
        raise McpConfigError(f"{path}: {name!r} is not an MCP server, or no name for one")
    command, url, args = row.get("command"), row.get("url"), row.get("args", [])
    if isinstance(command, str) and command and isinstance(args, list):
        return Server(name, (command, *map(str, args)), _texts(path, name, row.get("env")))
    if isinstance(url, str) and url:
        return Server(name, url=url, headers=_texts(path, name, row.get("headers")))
    raise McpConfigError(f"{path}: {name} has neither a command nor a url")


def _texts(path: Path, name: str, value: Json) -> Mapping[str, str]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return {key: str(item) for key, item in value.items()}
    raise McpConfigError(f"{path}: env and headers of {name} are not maps of names to texts")
