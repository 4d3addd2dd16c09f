"""What is shipped for clients: skills, agents, hooks, and the words for CLAUDE.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git import resources
from stratum_git.install.hook_groups import Hook
from stratum_git.install.program import Program
from stratum_git.model.ids import Json

NEEDED = ("WorktreeCreate",)
"""Events of which a client needs an answer: there a missing program has to be an error."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file to be copied, with its path below the folder of a client's settings."""

    name: str
    data: bytes
    executable: bool = False


def files() -> list[Shipped]:
    """Returns the skills and agents."""
    top = resources.plugin()
    return [found for part in ("agents", "skills") for found in read_tree(top / part, part)]


def words() -> str:
    """Returns what a model is told about working with stratum-git."""
    return (resources.plugin() / "execution-model.md").read_text(encoding="utf-8")


def server(program: Program) -> dict[str, Json]:
    """Returns the entry of the server."""
    first, *rest = program.words
    return {"type": "stdio", "command": first, "args": [*rest, "mcp"]}


def hooks(program: Program) -> list[Hook]:
    """Returns the hooks, as settings have them: without the scripts of the plugin in between."""
    listed = json.loads((resources.hooks() / "hooks.json").read_bytes())["hooks"]
    return [
        Hook(event, group.get("matcher"), name, {**entry, "command": _command(program, event, name)})
        for event, groups in listed.items()
        for group in groups
        for entry in group["hooks"]
        for name in [hook_name(entry)]
    ]


def hook_name(entry: Mapping[str, str]) -> str:
    """Returns the name of a hook by the script that the plugin has for it."""
    return entry["command"].strip("\"'").rpartition("/")[2]


def read_tree(top: Path, name: str) -> Iterator[Shipped]:
    """Gives the files below a folder, by their paths below *name*."""
    for path in sorted(top.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            inner = path.relative_to(top).as_posix()
            data = path.read_bytes()
            yield Shipped(f"{name}/{inner}", data, data.startswith(b"#!"))


def _command(program: Program, event: str, name: str) -> str:
    run = f"{program.shell} hook {name}"
    if event in NEEDED:
        return run
    # Who has the project and not the program is not to see an error at every step.
    first = program.shell if len(program.words) == 1 else program.shell.split(" ")[0]
    return f"command -v {first} >/dev/null || exit 0; exec {run}"
