"""The opencode client as an agent: ``opencode run --format json``, as it is in 1.18.

Its settings come in the environment, on top of the user's own, which hold but for MCP servers. What it may do
is said as an agent of ours in them, so that no rule of the user's allows more. It has no schemas: the object
is asked for in the prompt, and is the last one in what it says at the end.

A conversation is tied to the directory in which it began: gone on with in another one, it works in the old
one, which is somebody else's by then, and neither tells anything nor ends. So where it began is noted beside
each attempt, and anywhere else a new one begins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpec,
    AgentUnstartable,
    Assignment,
    Outcome,
)
from stratum_git.agents.command import Program
from stratum_git.agents.conversing import converse, outcome_of, prompt_of
from stratum_git.agents.mcp_config import McpConfigError, Server, bounded, read_servers
from stratum_git.agents.nested import NESTED
from stratum_git.agents.output import replace_private
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.stream import number, part, words
from stratum_git.agents.supervise import Exited
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

PROGRAM = ("opencode",)
CONTENT = "OPENCODE_CONFIG_CONTENT"
QUIET = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
}
SETTINGS: Mapping[str, Json] = {"share": "disabled", "autoupdate": False, "snapshot": False}
"""Its snapshots are a second git beside ours, of every file."""
LOOKS: Mapping[str, Json] = {
    "*": "deny", "read": "allow", "grep": "allow", "glob": "allow", "list": "allow", "lsp": "allow",
    "todowrite": "allow", "todoread": "allow",
    "bash": {
        "*": "deny",
        **{
            f"{command}{more}": "allow"
            for command in (
                "cat", "git blame", "git diff", "git log", "git ls-files", "git rev-parse", "git show",
                "git status", "grep", "head", "ls", "pwd", "rg", "tail", "wc",
            )
            for more in ("", " *")
        },
    },
}  # fmt: skip
"""What may be done by who only looks. opencode asks for each command of a line; one that writes to a file is
caught afterwards."""
WORKS: Mapping[str, Json] = {"*": "allow", "question": "deny", "doom_loop": "deny", "plan_enter": "deny"}
LIMITED = frozenset({429, 503, 529})
NOTE = "opencode.json"
GONE = "Session not found"
COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
TRAILING = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class OpencodeAgent:
    """Runs opencode. ``environment`` is the caller's; ``hide`` are secrets, as with any command."""

    spec: AgentSpec
    environment: Mapping[str, str]
    hide: Secrets = NONE

    @property
    def name(self) -> str:
        """Returns the name that specs use."""
        return self.spec.name

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt. Raises HostError when this machine cannot."""
        outcome = await self._talk(assignment, on_line, "")
        if outcome is not None:
            return outcome
        lost = f"the conversation {assignment.session} is none of this directory; a new one begins"
        on_line(lost)
        anew = replace(assignment, session=None, followup=None)
        return await self._talk(anew, on_line, f"[{lost}]") or AgentFailed("no conversation begins")

    async def _talk(
        self, assignment: Assignment, on_line: Callable[[str], None], first: str
    ) -> Outcome | None:
        """Has one conversation, or goes on with one; returns ``None`` when that is gone, or not had here."""
        if assignment.session is not None and not await trio.to_thread.run_sync(_is_here, assignment):
            return None
        ear = _Ear(assignment, assignment.model or self.spec.model)
        try:
            content = await trio.to_thread.run_sync(self._content, assignment)
        except McpConfigError as error:
            return AgentUnstartable(error.message)
        program = self._program({**QUIET, CONTENT: json.dumps(content)})
        command, prompt = self._words(assignment), prompt_of(assignment, asks_for_object=True)
        ended = await converse(program, command, assignment, on_line, prompt=prompt, ear=ear, first=first)
        if isinstance(ended, Exited) and assignment.session is not None and GONE.encode() in ended.errors:
            return None
        outcome = await outcome_of(program, command, assignment, ended, ear)
        if isinstance(outcome, AgentFailed) and ear.status in LIMITED:
            return AgentLimited(outcome.reason, ear.wait, outcome.seconds, outcome.usage)
        return outcome

    def problem(self) -> str | None:
        """Returns why it cannot do any attempt, before anything is started."""
        if CONTENT in self.spec.env:
            return f"the agent {self.name} is opencode, whose {CONTENT} is made here: use OPENCODE_CONFIG"
        return self._program({}).problem(self._command)

    @property
    def _command(self) -> tuple[str, ...]:
        return self.spec.command or PROGRAM

    def _program(self, added: Mapping[str, str]) -> Program:
        return Program(self.spec, self.environment, self.hide, NESTED, added)

    def _words(self, assignment: Assignment) -> tuple[str, ...]:
        profile = assignment.profile or self.spec.profile
        model = assignment.model or self.spec.model
        title = "/".join(filter(None, (assignment.flow, assignment.step, assignment.task)))
        # Without a title, another model is asked for one.
        own = ["run", "--format", "json", "--agent", f"stratum-{profile}", "--title", title]
        own += [] if model is None else ["--model", model]
        own += [] if assignment.session is None else ["--session", assignment.session]
        return (*self._command, *own)

    def _content(self, assignment: Assignment) -> Json:
        """Returns the settings that it gets, on top of what the caller's environment gives it."""
        env = {**self.environment, **self.spec.env, **assignment.env}
        given = _object(env.get(CONTENT, "{}"), CONTENT)
        servers = () if self.spec.mcp_config is None else read_servers(Path(self.spec.mcp_config))
        off: dict[str, Json] = {name: {"enabled": False} for name in _others(env, assignment.slot, given)}
        own: dict[str, Json] = {server.name: _entry(server) for server in servers}
        profile = assignment.profile or self.spec.profile
        rules: dict[str, Json] = dict(WORKS if profile == "general" else LOOKS)
        if self.spec.tools:
            rules = {"*": "deny", **{tool: rules.get(tool, rules["*"]) for tool in self.spec.tools}}
        elsewhere = "allow" if profile == "general" else "deny"
        rules["external_directory"] = {"*": "deny", f"{assignment.folder}/*": elsewhere}
        # MCP tools are called SERVER_TOOL, and whoever looks may use those that it was given.
        rules |= {f"{server.name}_*": "allow" for server in servers}
        agent: Json = {"description": "works for stratum-git", "mode": "primary", "permission": rules}
        agents = given.get("agent")
        return {
            **given,
            **SETTINGS,
            "mcp": {**off, **own},
            "agent": {**(agents if isinstance(agents, dict) else {}), f"stratum-{profile}": agent},
        }


class _Ear:
    """What opencode tells in one attempt."""

    def __init__(self, assignment: Assignment, model: str | None) -> None:
        self.said = ""
        self.done = False
        self.trouble = ""
        self.status: int | None = None
        self.wait: float | None = None
        self._assignment, self._model = assignment, model
        self._session = assignment.session
        self._noted: str | None = None
        self._fresh = True
        self._turns = self._incoming = self._outgoing = 0
        self._usd = 0.0

    def hear(self, event: Mapping[str, Json]) -> str:
        """Takes in an event; returns what of it a person may want to see."""
        self._session = words(event.get("sessionID")) or self._session
        told = event.get("part")
        match event.get("type"):
            case "step_start":
                # Whatever went wrong before, it goes on.
                self._fresh, self.trouble, self.status, self.wait = True, "", None, None
            case "text":
                text = words(part(told, "text"))
                self.said = text if self._fresh else f"{self.said}\n{text}"
                self._fresh = False
                return text
            case "tool_use":
                return _used(told)
            case "step_finish":
                self._count(told)
            case "error":
                self._take(event.get("error"))
                return self.trouble
            case _:
                pass
        return ""

    def look(self) -> None:
        """Notes where the conversation is had; what it costs is told in its events."""
        if self._session is None or self._session == self._noted:
            return
        self._noted = self._session
        note = {"session": self._session, "slot": str(self._assignment.slot.resolve())}
        try:
            replace_private(self._assignment.folder / NOTE, json.dumps(note).encode())
        except OSError as error:
            raise HostError(f"the conversation cannot be noted: {error}") from error

    def usage(self) -> dict[str, Json]:
        """Returns what it has told of its costs; a model without a price costs nothing that is known."""
        found: dict[str, Json] = {} if self._session is None else {"session_id": self._session}
        if self._model is not None:
            found["model"] = self._model
        if self._turns:
            found |= {"tokens": self._incoming + self._outgoing, "turns": self._turns}
            found |= {"input_tokens": self._incoming, "output_tokens": self._outgoing}
        return {**found, "usd": round(self._usd, 9)} if self._usd else found

    def _count(self, told: Json) -> None:
        reason, tokens = words(part(told, "reason")), part(told, "tokens")
        cached = number(part(tokens, "cache", "read")) + number(part(tokens, "cache", "write"))
        self._incoming += int(number(part(tokens, "input")) + cached)
        self._outgoing += int(number(part(tokens, "output")) + number(part(tokens, "reasoning")))
        self._usd += number(part(told, "cost"))
        self._turns += 1
        self.done = reason == "stop"
        if not self.done and reason != "tool-calls":
            self.trouble = f"the model stopped because of {reason or 'nothing that was told'}"

    def _take(self, error: Json) -> None:
        data = part(error, "data")
        self.trouble = words(part(data, "message")) or words(part(error, "name")) or "it failed"
        status = int(number(part(data, "statusCode")))
        self.status = status or None
        self.wait = _seconds(words(part(data, "responseHeaders", "retry-after")))


def _is_here(assignment: Assignment) -> bool:
    """Returns whether the conversation that is to go on was had in this slot."""
    wanted = {"session": assignment.session, "slot": str(assignment.slot.resolve())}
    for path in assignment.folder.parent.glob(f"*/{NOTE}"):
        try:
            if json.loads(bounded(path)) == wanted:
                return True
        except (OSError, ValueError):
            continue
    return False


def without_comments(text: str) -> str:
    """Returns JSON of JSON with comments and commas after the last item."""
    plain = COMMENT.sub(lambda found: found[1] or " ", text)
    return TRAILING.sub(lambda found: found[1] or "", plain)


def _used(told: Json) -> str:
    state, tool = part(told, "state"), words(part(told, "tool"))
    command = words(part(state, "input", "command"))
    what = f"$ {command}" if tool == "bash" else f"{tool} {words(part(state, 'title'))}".strip()
    return f"{what} ({words(part(state, 'error'))})" if part(state, "status") == "error" else what


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else None


def _entry(server: Server) -> Json:
    if server.url is not None:
        return {"type": "remote", "url": server.url, "headers": dict(server.headers), "enabled": True}
    return {
        "type": "local",
        "command": list(server.command),
        "environment": dict(server.env),
        "enabled": True,
    }


def _others(env: Mapping[str, str], slot: Path, given: Mapping[str, Json]) -> set[str]:
    """Returns the names of the MCP servers of the user and the project."""
    found = set(_names(dict(given)))
    for path in _settings_files(env, slot):
        try:
            found |= set(_names(json.loads(without_comments(bounded(path)))))
        except (OSError, ValueError):
            # There is none, or opencode itself says what is the matter with it.
            continue
    return found


def _settings_files(env: Mapping[str, str], slot: Path) -> Iterator[Path]:
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "/") / ".config") / "opencode"
    if env.get("OPENCODE_CONFIG"):
        yield slot / env["OPENCODE_CONFIG"]
    more = [slot / env["OPENCODE_CONFIG_DIR"]] if env.get("OPENCODE_CONFIG_DIR") else []
    for folder in (home, slot, slot / ".opencode", *more):
        yield from (folder / name for name in ("config.json", "opencode.json", "opencode.jsonc"))


def _names(settings: Json) -> Iterator[str]:
    servers = part(settings, "mcp")
    yield from servers if isinstance(servers, dict) else ()


def _object(text: str, what: str) -> Mapping[str, Json]:
    try:
        value = json.loads(without_comments(text))
    except ValueError as error:
        raise McpConfigError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise McpConfigError(f"{what} is not a JSON object")
    return value
