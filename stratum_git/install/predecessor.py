"""What stratum-mcp left, and what keeps an installation from working: told, and left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stratum_git.install import disk
from stratum_git.install.documents import Document, document
from stratum_git.install.places import Places
from stratum_git.install.refusing import Unusable
from stratum_git.model.ids import Json

HEADING = b"## Stratum Execution Model"


def remarks(places: Places, name: str) -> Iterator[str]:
    """Gives a sentence for each thing that a user has to know about his files."""
    old = places.folder / "mcp.json"
    if "stratum" in _servers(_document(places, old), "mcpServers"):
        yield f"{old} is of stratum-mcp; no client reads it. It was left; delete it when you like."
    servers = _servers(_document(places, places.servers), *places.keys)
    for key, entry in servers.items():
        if isinstance(entry, dict) and str(entry.get("command", "")).rpartition("/")[2] == "stratum-mcp":
            yield f"The server {key!r} in {places.servers} is stratum-mcp. It was left beside this one."
    settings = _document(places, places.settings)
    if settings is not None:
        yield from _settings(settings, places, name)
    if HEADING in (_data(places, places.words) or b""):
        yield f"{places.words} still tells the model about stratum-mcp, under {HEADING.decode()!r}."
    if _data(places, places.folder / "skills" / ".stratum-skills.json") is not None:
        yield f"{places.folder / 'skills'} has skills of stratum-mcp; `stratum-mcp uninstall` is for that."


def _settings(settings: Document, places: Places, name: str) -> Iterator[str]:
    if ".stratum/hooks/" in settings.text:
        yield f"{places.settings} has hooks of stratum-mcp, too; `stratum-mcp uninstall` removes them."
    if settings.has("disableAllHooks") and settings.value("disableAllHooks") is True:
        yield f"{places.settings} says disableAllHooks: no hook runs, ours neither."
    disabled = settings.value("disabledMcpjsonServers") if settings.has("disabledMcpjsonServers") else None
    if isinstance(disabled, list) and name in disabled:
        yield f"{places.settings} has {name!r} in disabledMcpjsonServers: no client uses it until it is out."


def _servers(doc: Document | None, *keys: str) -> dict[str, Json]:
    found = doc.value(*keys) if doc is not None and doc.has(*keys) else None
    return found if isinstance(found, dict) else {}


def _document(places: Places, path: Path) -> Document | None:
    try:
        data = _data(places, path)
        return None if data is None else document(data)
    except Unusable:
        return None


def _data(places: Places, path: Path) -> bytes | None:
    try:
        return disk.look(path, places.bounds).data
    except Unusable:
        return None
