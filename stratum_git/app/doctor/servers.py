"""Whether a client really reaches the server: its entry is found, and the very program it names is asked.

A repository may name any program in its ``.mcp.json``. Only this program is started, with nothing that the
entry adds to its environment; whatever else is named is told.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from stratum_git import __version__
from stratum_git.agents.brief import Heard, hear
from stratum_git.app.doctor.entries import Broken, Entry, config_home, entries, read_object
from stratum_git.app.doctor.finding import Finding, found_on_path
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository
from stratum_git.install.documents import is_own_server
from stratum_git.model.ids import Json

PATIENCE = 15.0
"""Seconds that the server has to tell its tools: it takes one, on a busy machine some."""
NAME = "stratum-git"
PREDECESSOR = "stratum-mcp"
FIXES = {
    "plugin": "claude plugin update stratum@stratum-git",
    "codex": "stratum-git install --print codex",
    "opencode": "stratum-git install --print opencode",
}
"""What mends an entry that `install` does not write."""
HELLO = (
    {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "stratum-git doctor", "version": __version__},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)  # fmt: skip


def servers(around: Surroundings, repo: Repository | None) -> Iterator[Finding]:
    """Says of each entry of ours whether a client that reads it has tools then."""
    own = False
    heard: dict[tuple[str, ...], Heard] = {}
    for one in entries(around, repo):
        if isinstance(one, Broken):
            hint = f"the client ignores the file silently; {one.hint}"
            yield Finding("MCP servers", "fail", f"{one.file}: {one.why}", hint, f"$EDITOR {one.file}")
        elif is_own_server(dict(one.row)):
            own = True
            yield from _reached(one, around, repo, heard)
            yield from _declined(one, around)
        elif str(one.row.get("command", "")).rpartition("/")[2] == PREDECESSOR:
            detail = f"{one.name} in {one.file} starts {PREDECESSOR}, and not this program"
            yield Finding(f"MCP server {one.name}", "warn", detail, "", f"claude mcp remove {one.name}")
    if not own:
        hint = "`stratum-git install` puts it where Claude Code looks"
        yield Finding(
            "MCP server", "ok", "no client has an entry that starts it here", hint, "stratum-git install"
        )
    if _is_own_file(around.cwd / ".claude" / "mcp.json"):
        detail = f"{around.cwd / '.claude/mcp.json'} has an entry, and no client reads that file"
        yield Finding("MCP server", "warn", detail, "", "stratum-git install")


def _reached(
    one: Entry, around: Surroundings, repo: Repository | None, heard: dict[tuple[str, ...], Heard]
) -> Iterator[Finding]:
    check = f"MCP server {one.name}"
    fix = FIXES.get(one.scope, f"stratum-git install --scope {one.scope}")
    words = _words(one.row)
    program = _own_program(words, around, repo)
    if program is None and words[0] == NAME:
        detail = f"{one.file} starts {NAME}, which is not on PATH: no client can start it"
        yield Finding(check, "fail", detail, "put it there", "pipx install stratum-git")
        return
    why = f"{words[0]} is not the program that runs here" if program is None else _added(one)
    if program is None or why:
        yield Finding(check, "warn", f"{one.file}: not started, since {why}", "look at the entry", fix)
        return
    try:
        words = (str(program), *words[1:])
        said = heard.get(words) or _hello(words, around)
    except StratumError as error:
        yield Finding(check, "fail", f"{one.file}: {error.message}", "", fix)
        return
    heard[words] = said
    yield _heard(one, said, check, fix)


def _hello(words: tuple[str, ...], around: Surroundings) -> Heard:
    return hear(
        words,
        cwd=around.cwd,
        environment=around.environment,
        seconds=PATIENCE,
        said="".join(f"{json.dumps(row)}\n" for row in HELLO).encode(),
        until=lambda out: len(_answers(out)) > 1,
    )


def _heard(one: Entry, said: Heard, check: str, fix: str) -> Finding:
    answers = {row.get("id"): row.get("result") for row in _answers(said.out)}
    hello, listed = answers.get(1), answers.get(2)
    tools = listed.get("tools") if isinstance(listed, dict) else None
    if not isinstance(hello, dict) or not isinstance(tools, list):
        why = f"nothing came within {PATIENCE:g} s" if said.late else f"it ended with {said.code}"
        detail = f"{one.file}: the server does not answer: {why}{': ' + said.words if said.words else ''}"
        return Finding(check, "fail", detail, "start it by hand to see why", "stratum-git mcp </dev/null")
    about = hello.get("serverInfo")
    version = about.get("version") if isinstance(about, dict) else None
    detail = f"{one.file}: {len(tools)} tools in {said.seconds:.1f} s"
    if version != __version__:
        hint = "the client starts another installation than this one"
        return Finding(check, "warn", f"{detail}, but it is {version}, and this is {__version__}", hint, fix)
    return Finding(check, "ok", detail)


def _declined(one: Entry, around: Surroundings) -> Iterator[Finding]:
    """Says that its user was asked about a project's server and said no."""
    if one.scope != "project":
        return
    for file in (one.file.parent / ".claude" / "settings.local.json", config_home(around) / "settings.json"):
        row = read_object(file)
        listed = row.get("disabledMcpjsonServers") if isinstance(row, dict) else None
        if isinstance(listed, list) and one.name in listed:
            detail = f"{file} has {one.name} in disabledMcpjsonServers: the client does not start it"
            fix = "claude mcp reset-project-choices"
            yield Finding(f"MCP server {one.name}", "warn", detail, "then say yes when it asks", fix)


def _words(row: object) -> tuple[str, ...]:
    entry = row if isinstance(row, dict) else {}
    args = entry.get("args")
    return (str(entry.get("command")), *(str(word) for word in (args if isinstance(args, list) else ())))


def _own_program(words: Sequence[str], around: Surroundings, repo: Repository | None) -> Path | None:
    """Returns what is started for an entry, if that is this program and nothing that a repository brings."""
    on_path = found_on_path(NAME, around.environment, repo)
    if words[0] == NAME:
        return on_path
    named = Path(words[0])
    if not named.is_absolute() or (repo is not None and _is_within(named, repo.root)):
        return None
    if named.name == NAME:
        own = (Path(sys.executable).with_name(NAME), on_path)
        return (
            named if words[1] == "mcp" and any(_same(named, one) for one in own if one is not None) else None
        )
    interpreter = Path(sys.executable)
    module = tuple(words[1:5]) == ("-P", "-m", "stratum_git", "mcp")
    return (
        named
        if module and named.name == interpreter.name and _same(named.parent, interpreter.parent)
        else None
    )


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - Path.samefile raises for the same cause
    except OSError:
        return False


def _added(one: Entry) -> str:
    """Returns why an entry is not tried although it starts this program; nothing when it is."""
    given = one.row.get("env")
    if isinstance(given, dict) and given:
        return f"it sets {', '.join(sorted(given))}"
    return ""


def _answers(out: bytes) -> list[dict[str, Json]]:
    found = []
    for line in out.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "id" in row:
            found.append(row)
    return found


def _is_own_file(file: Path) -> bool:
    row = read_object(file)
    listed = row.get("mcpServers") if isinstance(row, dict) else None
    rows = listed.values() if isinstance(listed, dict) else ()
    return any(is_own_server(entry) or _words(entry)[0] == PREDECESSOR for entry in rows)
