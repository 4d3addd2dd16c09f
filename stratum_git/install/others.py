"""Entries for clients whose files are not edited here: to be pasted by their users.

Tried with codex 0.169.0 and opencode 1.18.33; Cursor's is the form that its documentation has.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from stratum_git.install import shipped
from stratum_git.install.program import Program
from stratum_git.model.ids import Json

CLIENTS = ("codex", "opencode", "cursor", "json")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a client needs: the file it reads, what belongs there, and a command that puts it there."""

    client: str
    file: str
    text: str
    command: str | None = None

    def row(self) -> dict[str, Json]:
        """Returns it as JSON."""
        return {"client": self.client, "file": self.file, "entry": self.text, "command": self.command}


def entry_for(client: str, name: str, program: Program) -> Entry:
    """Returns the entry for one of CLIENTS, or for any client where it is none of them."""
    words = [*program.words, "mcp"]
    plain: dict[str, Json] = {"command": words[0], "args": list(words[1:])}
    match client:
        case "codex":
            text = f"[mcp_servers.{_toml(name)}]\ncommand = {_toml(words[0], quoted=True)}\n"
            args = ", ".join(_toml(word, quoted=True) for word in words[1:])
            command = f"codex mcp add {shlex.join([name, '--', *words])}"
            # Its first turn has no tools of a server that is still starting, unless it has to wait for it.
            text = f"{text}args = [{args}]\nrequired = true\n"
            return Entry(client, "~/.codex/config.toml", text, command)
        case "opencode":
            server: dict[str, Json] = {"type": "local", "command": list(words), "enabled": True}
            entry: dict[str, Json] = {"$schema": "https://opencode.ai/config.json", "mcp": {name: server}}
            return Entry(client, "opencode.json", _text(entry))
        case "cursor":
            return Entry(client, ".cursor/mcp.json", _text({"mcpServers": {name: plain}}))
        case _:
            entry = {"mcpServers": {name: shipped.server(program)}}
            return Entry("json", "the client's own", _text(entry))


def _toml(word: str, *, quoted: bool = False) -> str:
    """Returns a word as a key or a string; TOML takes the escapes of JSON."""
    plain = word.replace("-", "").replace("_", "")
    return word if not quoted and plain.isascii() and plain.isalnum() else json.dumps(word)


def _text(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
