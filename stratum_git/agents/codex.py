"""The codex client as an agent: ``codex exec --json``, as it is in 0.169.

A commit in a worktree writes beside it, so what git needs there is made writable in codex's sandbox: objects,
refs and logs, not settings and hooks. Its commands are run by no login shell, whose profile would put other
programs before the fence. The user's own settings hold, but for MCP servers, hooks, apps, plugins, notices.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
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
from stratum_git.agents.conversing import converse, lost, outcome_of, prompt_of
from stratum_git.agents.mcp_config import McpConfigError, Server, bounded, read_servers
from stratum_git.agents.nested import NESTED
from stratum_git.agents.output import replace_private
from stratum_git.agents.rollouts import Rollout, Tokens
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.stream import number, part, rows, words
from stratum_git.agents.supervise import Exited
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

PROGRAM = ("codex",)
SETTINGS = (
    'approval_policy="never"',
    "allow_login_shell=false",
    'shell_environment_policy.inherit="all"',
    # The names of git's settings in the environment have KEY in them, and the fence is made of those.
    "shell_environment_policy.ignore_default_excludes=true",
    "check_for_update_on_startup=false",
    "analytics.enabled=false",
    "notify=[]",
    "features.apps=false",
    "features.hooks=false",
    "features.plugins=false",
)
SANDBOX = {"general": "workspace-write", "verification": "read-only"}
WRITTEN = ("objects", "refs", "logs", "reftable")
"""What a commit changes of a repository, besides the directory of its worktree."""
LIMITED = re.compile(
    r"\b429\b|too many requests|rate.?limit|usage limit|at capacity|overloaded", re.IGNORECASE
)
SOON = re.compile(r"try again in ([0-9.]+) ?(ms|s|m|h)", re.IGNORECASE)
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
CLOCK = re.compile(r"try again at (?:([A-Z][a-z]{2} \d+)[a-z]{2}, (\d{4}) )?(\d+:\d\d [AP]M)")
GONE = "no rollout found"
BARE = re.compile(r"[A-Za-z0-9_-]+")
KEYWORDS = frozenset({"allOf", "oneOf", "not", "if", "patternProperties", "dependentRequired"})
"""What strict schemas of this model's server may not have, of that which is common in others."""


@dataclass(frozen=True, slots=True)
class CodexAgent:
    """Runs codex. ``environment`` is the caller's; ``hide`` are secrets, as with any command."""

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
        on_line(lost(assignment))
        anew = replace(assignment, session=None, followup=None)
        return await self._talk(anew, on_line, f"[{lost(assignment)}]") or AgentFailed(
            "no conversation begins"
        )

    async def _talk(
        self, assignment: Assignment, on_line: Callable[[str], None], first: str
    ) -> Outcome | None:
        """Has one conversation, or goes on with one; returns ``None`` when that is gone."""
        home = _home({**self.environment, **self.spec.env, **assignment.env})
        ear = _Ear(home, assignment.session, assignment.model or self.spec.model)
        try:
            call = await trio.to_thread.run_sync(self._call, assignment, home)
        except McpConfigError as error:
            return AgentUnstartable(error.message)
        await trio.to_thread.run_sync(ear.begin)
        program = self._program(call.env)
        ended = await converse(
            program, call.words, assignment, on_line, prompt=call.prompt, ear=ear, first=first
        )
        if isinstance(ended, Exited) and assignment.session is not None and GONE.encode() in ended.errors:
            return None
        outcome = await outcome_of(program, call.words, assignment, ended, ear)
        if isinstance(outcome, AgentFailed) and LIMITED.search(ear.trouble):
            # It tells the time as the clock on the wall has it.
            wait = wait_of(ear.trouble, datetime.now())  # noqa: DTZ005
            return AgentLimited(outcome.reason, wait, outcome.seconds, outcome.usage)
        return outcome

    def problem(self) -> str | None:
        """Returns why it cannot do any attempt, before anything is started."""
        if self.spec.tools:
            return f"the agent {self.name} is codex, which has no list of tools: take out its tools"
        if self.spec.usd is not None:
            return f"the agent {self.name} is codex, which does not tell its costs in usd: take out its usd"
        return self._program({}).problem(self._command)

    @property
    def _command(self) -> tuple[str, ...]:
        return self.spec.command or PROGRAM

    def _program(self, added: Mapping[str, str]) -> Program:
        return Program(self.spec, self.environment, self.hide, NESTED, added)

    def _call(self, assignment: Assignment, home: Path) -> _Call:
        """Returns how it is started; writes the schema that it is given by a file."""
        servers = () if self.spec.mcp_config is None else read_servers(Path(self.spec.mcp_config))
        added: dict[str, str] = {}
        strict = assignment.schema is not None and is_strict(assignment.schema)
        command = [*self._command, "exec", "--json", "--color", "never"]
        command += ["--skip-git-repo-check", "--cd", str(assignment.slot)]
        command += self._sandbox(assignment)
        settings = [*SETTINGS, *_others(home, assignment.slot)]
        settings += [_setting(server, added) for server in servers]
        command += [word for setting in settings for word in ("--config", setting)]
        model = assignment.model or self.spec.model
        command += [] if model is None else ["--model", model]
        if strict:
            command += ["--output-schema", str(_written(assignment))]
        command += ["-"] if assignment.session is None else ["resume", assignment.session, "-"]
        return _Call(tuple(command), prompt_of(assignment, asks_for_object=not strict), added)

    def _sandbox(self, assignment: Assignment) -> Iterator[str]:
        profile = assignment.profile or self.spec.profile
        yield from ("--sandbox", SANDBOX[profile])
        if profile == "general":
            for place in (*_git_places(assignment.slot), assignment.folder):
                yield from ("--add-dir", str(place))


@dataclass(frozen=True, slots=True)
class _Call:
    """How codex is started: its words, its prompt, what its environment has besides."""

    words: tuple[str, ...]
    prompt: str
    env: Mapping[str, str]


class _Ear:
    """What codex tells in one attempt."""

    def __init__(self, home: Path, session: str | None, model: str | None) -> None:
        self.said = ""
        self.done = False
        self.trouble = ""
        self._home, self._session, self._model = home, session, model
        self._goes_on = session is not None
        self._before: Tokens | None = Tokens()
        self._told: Tokens | None = None
        self._rollout: Rollout | None = None

    def begin(self) -> None:
        """Looks at what the conversation has used before."""
        if self._session is None:
            return
        before = Rollout(self._home, self._session)
        self._before = before.tokens if before.look() else None

    def hear(self, event: Mapping[str, Json]) -> str:
        """Takes in an event; returns what of it a person may want to see."""
        kind, item = event.get("type"), event.get("item")
        if kind == "thread.started":
            self._session = words(event.get("thread_id")) or self._session
        elif kind == "turn.completed":
            used = event.get("usage")
            incoming, outgoing = number(part(used, "input_tokens")), number(part(used, "output_tokens"))
            self._told, self.done = Tokens(int(incoming), int(outgoing)), True
        elif kind == "turn.failed":
            self.trouble = _message(words(part(event.get("error"), "message"))) or "the turn failed"
            return self.trouble
        elif kind == "error":
            # It tries again by itself, and goes on: only a turn that failed is one.
            return _message(words(event.get("message")))
        elif kind in ("item.started", "item.completed"):
            return self._heard(item, over=kind == "item.completed")
        return ""

    def look(self) -> None:
        """Looks at the file that codex has of the conversation."""
        if self._session is None:
            return
        self._rollout = self._rollout or Rollout(self._home, self._session)
        self._rollout.look()

    def usage(self) -> dict[str, Json]:
        """Returns what this attempt has used, without what the conversation had before."""
        found: dict[str, Json] = {}
        if self._session is not None:
            found["session_id"] = self._session
        model = self._model or (self._rollout.model if self._rollout is not None else None)
        if model is not None:
            found["model"] = model
        noted = self._rollout.tokens if self._rollout is not None else Tokens()
        now = self._told or noted
        if self._before is None or now == Tokens():
            return found
        used = replace(now, requests=noted.requests).since(self._before)
        found |= {"tokens": used.incoming + used.outgoing}
        found |= {"input_tokens": used.incoming, "output_tokens": used.outgoing}
        return {**found, "turns": used.requests} if used.requests > 0 else found

    def _heard(self, item: Json, *, over: bool) -> str:
        match words(part(item, "type")), over:
            case "agent_message", True:
                self.said = words(part(item, "text"))
                return self.said
            case "command_execution", False:
                return f"$ {words(part(item, 'command'))}"
            case "file_change", True:
                return "\n".join(
                    f"{words(row.get('kind'))} {words(row.get('path'))}"
                    for row in rows(part(item, "changes"))
                )
            case "mcp_tool_call", False:
                return f"{words(part(item, 'server'))}: {words(part(item, 'tool'))}"
            case "error", _:
                return words(part(item, "message"))
            case _:
                return ""


def is_strict(schema: Json) -> bool:
    """Returns whether the server of the model takes *schema* as it is: every name required, none besides."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if not KEYWORDS.isdisjoint(schema):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        names, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(names, dict) or not isinstance(required, list):
            return False
        if schema.get("additionalProperties") is not False or set(names) != set(map(str, required)):
            return False
        return all(map(is_strict, names.values()))
    return all(is_strict(schema[name]) for name in ("items", "anyOf", "$defs") if name in schema)


def wait_of(text: str, now: datetime) -> float | None:
    """Returns the seconds that codex says to wait, in its words for people; *now* is the local time."""
    soon = SOON.search(text)
    if soon is not None:
        return float(soon[1]) * UNITS[soon[2].lower()]
    clock = CLOCK.search(text)
    if clock is None:
        return None
    day = f"{clock[1]} {clock[2]}" if clock[1] else now.strftime("%b %d %Y")
    try:
        then = datetime.strptime(f"{day} {clock[3]}", "%b %d %Y %I:%M %p")  # noqa: DTZ007 - local, as told
    except ValueError:
        return None
    # It is told to the minute, and without its day when that is within one.
    left = (then - now).total_seconds() + 60
    return max(0.0, left) if clock[1] else left % 86400


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("CODEX_HOME") or Path(env.get("HOME") or "~") / ".codex").expanduser()


def _git_places(slot: Path) -> tuple[Path, ...]:
    """Returns the directories that a commit in *slot* writes to."""
    place = slot / ".git"
    try:
        text = place.read_text(encoding="utf-8", errors="surrogateescape") if place.is_file() else ""
        git_dir = slot / text.removeprefix("gitdir: ").strip() if text else place
        shared = git_dir / "commondir"
        common = git_dir / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git_dir
    except OSError as error:
        raise HostError(f"{place} cannot be read: {error}") from error
    common = common.resolve()
    found = (git_dir.resolve(), *(common / name for name in WRITTEN))
    return tuple(path for path in found if path.is_dir())


def _others(home: Path, slot: Path) -> Iterator[str]:
    """Yields settings that switch off the MCP servers of the user and the project."""
    for path in (home / "config.toml", slot / ".codex" / "config.toml"):
        try:
            servers = tomllib.loads(bounded(path)).get("mcp_servers", {})
        except (OSError, ValueError):
            # There is none, or codex itself says what is the matter with it.
            continue
        for name in servers if isinstance(servers, dict) else ():
            if BARE.fullmatch(name):
                yield f"mcp_servers.{name}.enabled=false"


def _setting(server: Server, env: dict[str, str]) -> str:
    """Returns the setting for an MCP server; values that may be secret go into *env*, which it names."""
    fields: list[str] = []
    if server.url is not None:
        env |= {_variable(server, key): value for key, value in server.headers.items()}
        named = ", ".join(f"{_toml(key)} = {_toml(_variable(server, key))}" for key in server.headers)
        fields = [f"url = {_toml(server.url)}", f"env_http_headers = {{{named}}}"]
    else:
        env |= server.env
        fields = [f"command = {_toml(server.command[0])}", f"args = {_toml(list(server.command[1:]))}"]
        fields.append(f"env_vars = {_toml(list(server.env))}")
    return f"mcp_servers.{server.name}={{{', '.join(fields)}, enabled = true}}"


def _variable(server: Server, key: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", f"STRATUM_MCP_{server.name}_{key}".upper())


def _toml(value: str | list[str]) -> str:
    # JSON's texts and lists of texts are TOML's as well, but for this one character.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _written(assignment: Assignment) -> Path:
    path = assignment.folder / "schema.json"
    try:
        replace_private(path, json.dumps(assignment.schema).encode())
    except OSError as error:
        raise HostError(f"the schema cannot be written: {error}") from error
    return path


def _message(text: str) -> str:
    """Returns what a message says; some are what the server answered, as JSON."""
    if not text.startswith("{"):
        return text
    try:
        return words(part(json.loads(text), "error", "message")) or text
    except ValueError:
        return text
