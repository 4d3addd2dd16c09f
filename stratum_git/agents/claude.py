"""Claude Code as an agent: ``claude -p``, of which every event is read as it comes.

What it is given, and why, as it was tried on 2.1.328 and 2.1.197:

- The prompt on standard input: words on a command line are seen by everybody, and have a limit.
- ``disableAllHooks``: the user's hooks, and ours among them, are for the user's own sessions. His other
  settings, his login and ``CLAUDE.md`` hold.
- ``--strict-mcp-config``: no server but those of ``mcp_config``; so a worker starts no flows by itself.
- The profile ``general`` edits in its slot and runs commands without being asked (``acceptEdits``, ``Bash``
  allowed); elsewhere its own tools write no files. ``EnterWorktree`` would lead it out of its slot.
- The profile ``verification`` has no tool that writes (``--tools Read Grep Glob``), and nobody to ask
  (``dontAsk``); with ``Bash`` among its tools, the client itself lets it run what only reads. Plan mode is no
  help: it leaves ``Bash`` and subagents to other rules.
- ``CLAUDE_CODE_MAX_RETRIES``: by itself it would ask an API that fails for minutes. It waits for one that has
  no room as long as that is short; then it is ended, and the flow waits, without one (``claude_events.py``).

When such a run has succeeded, stands in ``claude_endings.py``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from stratum_git.agents.answers import BadAnswer
from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpec,
    AgentSpent,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.claude_costs import note, noted, usage_of
from stratum_git.agents.claude_endings import Ending, refusal, shortcoming
from stratum_git.agents.claude_events import Limited, Run, Spent, Stopped, trouble
from stratum_git.agents.command import TEXT, Program, answer_of, failure, result_file
from stratum_git.agents.mcp_config import McpConfigError, read_servers
from stratum_git.agents.nested import NESTED
from stratum_git.agents.output import plain_text
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.stream import words
from stratum_git.agents.supervise import Exit, Exited, Unstartable
from stratum_git.model.ids import Json

PROGRAM = "claude"
INSTALL = "npm install -g @anthropic-ai/claude-code installs it"
READS = ("Read", "Grep", "Glob")
WRITES = ("Edit", "Write", "NotebookEdit")
RETRIES = "6"
GONE = ("No conversation found", "is not a UUID", "is already in use")
"""What the client says of a conversation that it cannot go on with."""


@dataclass(frozen=True, slots=True)
class ClaudeAgent:
    """Runs Claude Code. ``environment`` is the caller's, ``hide`` are secrets."""

    spec: AgentSpec
    environment: Mapping[str, str]
    hide: Secrets = NONE

    @property
    def name(self) -> str:
        """Returns the name that specs use."""
        return self.spec.name

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt. Raises HostError when this machine cannot."""
        left = _least(assignment.usd, self.spec.usd)
        if left is not None and left <= 0:
            return AgentSpent(f"{self.name} has nothing left to spend")
        try:
            told, ended = await self._talk(assignment, on_line, ())
        except McpConfigError as error:
            return AgentUnstartable(f"{self.name}: {error.message}")
        if assignment.session is not None and _is_gone(told, ended):
            lost = f"the conversation {assignment.session} is not there any more; a new one begins"
            on_line(lost)
            assignment = replace(assignment, session=None, followup=None)
            told, ended = await self._talk(assignment, on_line, (f"[{lost}]",))
        look = partial(self._usage, assignment, told)
        return await self._outcome(assignment, told, ended, await trio.to_thread.run_sync(look))

    def problem(self) -> str | None:
        """Returns why it cannot do any attempt, before anything is started."""
        found = self._program().problem(self._command())
        if found is not None:
            return found if self.spec.command or "secret" in found else f"{found}; {INSTALL}"
        try:
            self._servers()
        except McpConfigError as error:
            return f"the agent {self.name}: {error.message}"
        return None

    def options(self, given: Assignment) -> list[str]:
        """Returns what it is started with, behind its command; of the prompt it has nothing."""
        session = (
            ["--session-id", str(uuid.uuid4())] if given.session is None else ["--resume", given.session]
        )
        options = [
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--include-partial-messages",
            *session,
        ]
        options += ["--settings", '{"disableAllHooks": true}', *self._permissions(given)]
        model, usd = given.model or self.spec.model, _least(given.usd, self.spec.usd)
        if model is not None:
            options += ["--model", model]
        if usd is not None:
            options += ["--max-budget-usd", f"{max(usd, 1e-6):.6f}"]
        if self.spec.turns is not None:
            options += ["--max-turns", str(self.spec.turns)]
        if isinstance(given.schema, dict):
            # It knows draft 7 only, by any name: one version refuses another name, one then asks for nothing.
            schema = {name: value for name, value in given.schema.items() if name != "$schema"}
            options += ["--json-schema", json.dumps(schema)]
        return options

    async def _talk(
        self, assignment: Assignment, on_line: Callable[[str], None], said: tuple[str, ...]
    ) -> tuple[Run, Exit | None]:
        """Has one conversation, or goes on with one; the end is ``None`` when it was ended from here."""
        with trio.CancelScope() as scope:
            told = Run(assignment.meter or _nobody, scope.cancel, assignment.tokens, said)
            words = [*self._command(), *self.options(assignment)]
            prompt = assignment.intent
            if assignment.session is not None and assignment.followup is not None:
                prompt = assignment.followup
            ended = await self._program().run(words, assignment, on_line, prompt=prompt, reads=told.read)
            return told, ended
        return told, None

    def _command(self) -> tuple[str, ...]:
        return self.spec.command or (PROGRAM,)

    def _program(self) -> Program:
        adds = {"CLAUDE_CODE_MAX_RETRIES": RETRIES}
        return Program(self.spec, self.environment, self.hide, NESTED, adds)

    def _permissions(self, given: Assignment) -> list[str]:
        named = self.spec.tools
        builtin = list(
            dict.fromkeys(tool.partition("(")[0] for tool in named if not tool.startswith("mcp__"))
        )
        servers = ["--strict-mcp-config"]
        if (given.profile or self.spec.profile) == "verification":
            own = [tool for tool in named if tool.startswith("mcp__")]
            if own and self.spec.mcp_config is not None:
                servers = ["--mcp-config", self.spec.mcp_config, *servers, "--allowedTools", *own]
            tools = [tool for tool in builtin if tool not in WRITES] or READS
            mode = ["--permission-mode", "dontAsk", "--tools", ",".join(tools)]
            return [*mode, "--disallowedTools", *WRITES, *servers]
        allowed = list(named) or ["Bash"]
        if self.spec.mcp_config is not None:
            servers = ["--mcp-config", self.spec.mcp_config, *servers]
            if not any(tool.startswith("mcp__") for tool in named):
                allowed += [f"mcp__{server}" for server in self._servers()]
        tools = ["--tools", ",".join(builtin)] if builtin else []
        mode = ["--permission-mode", "acceptEdits", *tools, "--allowedTools", *_inside(allowed)]
        return [*mode, "--disallowedTools", "EnterWorktree", *servers]

    def _servers(self) -> tuple[str, ...]:
        """Returns the names of its own MCP servers; raises McpConfigError."""
        file = self.spec.mcp_config
        return () if file is None else tuple(server.name for server in read_servers(Path(file)))

    def _usage(self, assignment: Assignment, told: Run) -> dict[str, Json]:
        former = None if assignment.session is None else noted(assignment.folder, assignment.session)
        note(assignment.folder, told, former)
        return usage_of(told, former)

    async def _outcome(
        self, given: Assignment, told: Run, ended: Exit | None, usage: Mapping[str, Json]
    ) -> Outcome:
        match ended:
            case None:
                return self._stopped(told.stopped, usage)
            case Unstartable():
                return self._program().unstartable(ended, self._command()[0], given.slot)
            case Exited() if told.result is not None:
                end = Ending(self.name, told, told.result, ended, usage)
                profile = given.profile or self.spec.profile
                return refusal(end) or shortcoming(end, given, profile) or await self._finished(given, end)
            case Exited(code=0, seconds=seconds):
                return AgentFailed(f"{self.name} ended without a result", 0, seconds, usage)
            case other:
                return failure(self.name, other, usage)

    def _stopped(self, why: Stopped | None, usage: Mapping[str, Json]) -> Outcome:
        match why:
            case Limited(reason=reason, after=after):
                return AgentLimited(f"{self.name}: {reason}", after, usage=usage)
            case Spent(reason=reason):
                return AgentSpent(f"{self.name}: {reason}", usage=usage)
            case None:
                raise AssertionError(f"{self.name} was ended for no reason")

    async def _finished(self, given: Assignment, end: Ending) -> Outcome:
        said = words(end.result.get("result")).encode("utf-8", "replace")
        output = self.hide.hidden_json(end.result.get("structured_output"))
        if given.schema is None:
            found = await answer_of(result_file(given), said, self.hide)
            if isinstance(found, BadAnswer):
                return end.failed(found.reason)
            output = found.value
        text = self.hide.hidden_text(plain_text(said[-TEXT:]))
        return Finished(output, end.usage, text, end.ended.seconds)


def _is_gone(told: Run, ended: Exit | None) -> bool:
    """Returns whether a conversation was not there, so that nothing was done."""
    if not isinstance(ended, Exited) or ended.code == 0 or told.counter.output_tokens:
        return False
    said = ended.errors.decode("utf-8", "replace") + ("" if told.result is None else trouble(told.result))
    return any(sign in said for sign in GONE)


def _inside(allowed: list[str]) -> list[str]:
    """Returns what may be used without asking: editing is not, `acceptEdits` allows it in the slot alone."""
    return [tool for tool in allowed if tool not in WRITES]


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _nobody(_: Mapping[str, Json]) -> None:
    """Stands for nobody who wants to know."""
