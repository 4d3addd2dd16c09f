"""The MCP servers that an agent is given: a file of its own, in the form that clients know."""

from __future__ import annotations

import json
import re
from pathlib import Path

from stratum_git.model.ids import Json

ODD = re.compile(r"[^A-Za-z0-9_-]")
"""What clients replace by an underscore in the names of tools."""


def mcp_servers(file: str) -> tuple[str, ...]:
    """Returns the names of the servers in *file*, as they stand in the names of their tools.

    Raises OSError when there is no such file, ValueError when that is not what it is.
    """
    found: Json = json.loads(Path(file).read_bytes())
    servers = found.get("mcpServers") if isinstance(found, dict) else None
    if not isinstance(servers, dict):
        raise ValueError("it has no mcpServers")  # noqa: TRY004 - told to whoever wrote the file
    return tuple(ODD.sub("_", name) for name in servers)


def mcp_problem(file: str | None) -> str | None:
    """Returns what is wrong with the file, as the end of a sentence; ``None`` when nothing is."""
    if file is None:
        return None
    try:
        mcp_servers(file)
    except OSError as error:
        return f"the servers in {file}, which cannot be read: {error.strerror}"
    except ValueError as error:
        return f"the servers in {file}, which is not a file of MCP servers: {error}"
    return None
