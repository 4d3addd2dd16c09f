"""What stratum-mcp left, and what keeps an installation from working: told, and left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stratum_git.install.assembly import data_of, words_of
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
    # Whoever said no to a project's server finds that in the settings that are his alone.
    for path in dict.fromkeys([places.settings, places.folder / "settings.local.json"]):
        settings = _document(places, path)
        if settings is not None:
            yield from _settings(settings, path, name)
    words = words_of(places)
    if HEADING in (data_of(words, places.bounds) or b""):
        yield f"{words} still tells the model about stratum-mcp, under {HEADING.decode()!r}."
    if data_of(places.folder / "skills" / ".stratum-skills.json", places.bounds) is not None:
        yield f"{places.folder / 'skills'} has skills of stratum-mcp; `stratum-mcp uninstall` is for that."


def _settings(settings: Document, path: Path, name: str) -> Iterator[str]:
    if ".stratum/hooks/" in settings.text:
        yield f"{path} has hooks of stratum-mcp, too; `stratum-mcp uninstall` removes them."
    if settings.has("disableAllHooks") and settings.value("disableAllHooks") is True:
        yield f"{path} says disableAllHooks: no hook runs, ours neither."
    plugins = settings.value("enabledPlugins") if settings.has("enabledPlugins") else None
    if isinstance(plugins, dict) and any(key.startswith("stratum@") and on for key, on in plugins.items()):
        yield f"{path} has the plugin as well: what both have is there twice, hooks run twice."
    disabled = settings.value("disabledMcpjsonServers") if settings.has("disabledMcpjsonServers") else None
    if isinstance(disabled, list) and name in disabled:
        yield f"{path} has {name!r} in disabledMcpjsonServers: no client uses it until it is out."


def _servers(doc: Document | None, *keys: str) -> dict[str, Json]:
    found = doc.value(*keys) if doc is not None and doc.has(*keys) else None
    return found if isinstance(found, dict) else {}


def _document(places: Places, path: Path) -> Document | None:
    try:
        data = data_of(path, places.bounds)
        return None if data is None else document(data)
    except Unusable:
        return None
