"""A stand-in for Claude Code's ``claude -p``: the same options, stream and exit codes, and no model.

``python -m stratum_git.fakes.claude OPTIONS < PROMPT`` plays the JSON file that
``STRATUM_FAKE_CLAUDE`` names::

    {"lanes": [{"match": "api", "steps": [STEP, ...]},      # the first whose pattern is found in the prompt
               {"resumed": true, "steps": [STEP, ...]},     # only when a conversation goes on
               {"steps": [{"text": "nothing to do"}]}]}

A STEP is one of: ``{"text": T}`` says it, ``{"bash": COMMAND}`` runs it, ``{"write": PATH, "text": T}`` makes
a file, ``{"object": O}`` returns it where a schema was asked for, ``{"raw": T}`` prints it as it is,
``{"error": STATUS, "retry_after": S}`` is the API's answer, ``{"exit": CODE, "stderr": T}`` ends it there,
``{"ends": SUBTYPE, "code": CODE, ...}`` with these further fields, ``{"sleep": S}`` waits. ``usage`` in a
step says how many tokens its answer reads and writes, ``[100, 20]`` if not.

As in 2.1.328: a tool that was not given is no tool, what is not permitted is denied and told in the result,
money is counted and limited, conversations lie under ``HOME`` and their costs add up. As 2.1.197
(``STRATUM_FAKE_CLAUDE_VERSION``) they do not, and go on only in the folder where they began. What it does not
know it refuses, as the real one does. ``tests/agents/test_contract.py`` holds both to the same tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from stratum_git.fakes.playing import Refused, played, prompt_on_input, steps_for

SCRIPT = "STRATUM_FAKE_CLAUDE"
VERSION = "STRATUM_FAKE_CLAUDE_VERSION"
LATEST = "2.1.328"
READ, WRITTEN = 4e-6, 20e-6
"""Dollars for a token."""
BUILTIN = ("Task", "Bash", "Edit", "EnterWorktree", "NotebookEdit", "Read", "WebFetch", "Write")
OTHERS = ("Glob", "Grep")
"""Tools that are there when they are named."""
MODES = ("acceptEdits", "auto", "bypassPermissions", "manual", "dontAsk", "plan", "default")
LONGEST_WAIT = 60.0
"""Seconds beyond which it does not wait for the API at all."""


class Parser(argparse.ArgumentParser):
    """Takes the options of the real one; of others it says what that does."""

    def error(self, message: str) -> NoReturn:
        """Raises Refused."""
        raise Refused(f"error: {message}")


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns what was asked for; raises Refused."""
    parser = Parser(add_help=False, allow_abbrev=False)
    for name in ("-p", "--verbose", "--include-partial-messages", "--strict-mcp-config"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--output-format", choices=("text", "json", "stream-json"), default="text")
    parser.add_argument("--permission-mode", choices=MODES, default="manual")
    for name in ("--tools", "--allowedTools", "--disallowedTools", "--mcp-config"):
        parser.add_argument(name, nargs="+", default=None)
    for name in ("--session-id", "--resume", "--settings", "--json-schema", "--model"):
        parser.add_argument(name)
    parser.add_argument("--max-budget-usd", type=float)
    parser.add_argument("--max-turns", type=int)
    asked, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise Refused(f"error: unknown option '{unknown[0]}'")
    if not asked.p or asked.output_format != "stream-json" or not asked.verbose:
        raise Refused("Error: this fake does only -p --output-format stream-json --verbose")
    return asked


class Client:
    """One run: what it was told, what it tells."""

    def __init__(self, asked: argparse.Namespace, prompt: str) -> None:
        self.asked, self.prompt = asked, prompt
        self.version = os.environ.get(VERSION, LATEST)
        self.file, self.former = self._conversation()
        self.session = asked.resume or asked.session_id or str(uuid.uuid4())
        self.tools = self._tools()
        self.model = asked.model or "claude-fake-1"
        self.read = self.written = self.turns = 0
        self.denials: list[dict[str, Any]] = []
        self.object: Any = None
        self.said = ""

    def _conversation(self) -> tuple[Path, dict[str, Any]]:
        """Returns where the conversation lies, and what it has cost."""
        home = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path(os.environ.get("HOME", "/")) / ".claude")
        wanted = self.asked.resume or self.asked.session_id or str(uuid.uuid4())
        here = home / "projects" / re.sub(r"[^A-Za-z0-9]", "-", str(Path.cwd())) / f"{wanted}.jsonl"
        if self.asked.resume is None:
            if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", wanted):
                raise Refused("Error: Invalid session ID. Must be a valid UUID.")
            if here.exists():
                raise Refused(f"Error: Session ID {wanted} is already in use.")
            return here, {"usd": 0.0, "read": 0, "written": 0}
        found = [here] if here.exists() else sorted((home / "projects").glob(f"*/{wanted}.jsonl"))
        if not found or (self.version < LATEST and found[0] != here):
            raise Refused(f"No conversation found with session ID: {wanted}")
        kept = json.loads(found[0].read_text().splitlines()[-1])
        return found[0], kept if self.version >= LATEST else {"usd": 0.0, "read": 0, "written": 0}

    def _tools(self) -> list[str]:
        named = [tool for word in self.asked.tools or () for tool in re.split(r"[, ]+", word) if tool]
        given = [t for t in (*BUILTIN, *OTHERS) if t in named] if named else list(BUILTIN)
        denied = self.asked.disallowedTools or ()
        own = ["StructuredOutput"] if self.asked.json_schema else []
        return [tool for tool in given if tool not in denied] + own

    def tell(self, **event: Any) -> None:
        """Writes an event."""
        sys.stdout.write(json.dumps({**event, "session_id": self.session, "uuid": str(uuid.uuid4())}) + "\n")
        sys.stdout.flush()

    def play(self, steps: Sequence[Mapping[str, Any]]) -> int:
        """Plays the steps to the end, and returns the exit code."""
        servers = [name for file in self.asked.mcp_config or () for name in _servers(file)]
        self.tell(
            type="system", subtype="init", cwd=str(Path.cwd()), tools=self.tools, model=self.model,
            mcp_servers=[{"name": name, "status": "connected"} for name in servers],
            permissionMode=self.asked.permission_mode, claude_code_version=self.version,
        )  # fmt: skip
        self._keep()
        for step in steps:
            code = self._step(step)
            if code is not None:
                return code
            if self.asked.max_budget_usd is not None and self.usd() > self.asked.max_budget_usd:
                said = f"Reached maximum budget (${self.asked.max_budget_usd:g})"
                return self.result("error_max_budget_usd", is_error=True, errors=[said])
            if (
                self.asked.max_turns is not None
                and self.turns >= self.asked.max_turns
                and step is not steps[-1]
            ):
                said = f"Reached maximum number of turns ({self.asked.max_turns})"
                return self.result(
                    "error_max_turns", is_error=True, errors=[said], terminal_reason="max_turns"
                )
        return self.result("success", result=self.said, terminal_reason="completed")

    def _step(self, step: Mapping[str, Any]) -> int | None:
        match step:
            case {"error": status}:
                return self._fault(int(status), step.get("retry_after"))
            case {"ends": subtype, **rest}:
                code = rest.pop("code", 0)
                self.result(subtype, **rest)
                return int(code)
            case {"exit": code}:
                sys.stderr.write(step.get("stderr", ""))
                return int(code)
            case {"sleep": seconds}:
                time.sleep(seconds)
            case {"raw": text}:
                sys.stdout.write(text)
                sys.stdout.flush()
            case {"bash": command}:
                self._use("Bash", {"command": command}, step)
            case {"write": path}:
                self._use("Write", {"file_path": str(Path(path).absolute()), "content": step["text"]}, step)
            case {"object": found}:
                self._use("StructuredOutput", found, step)
            case {"text": text}:
                self.said = text
                self._answer({"type": "text", "text": text}, step)
            case _:
                raise Refused(f"Error: no such step: {json.dumps(step)}")
        return None

    def _answer(self, block: Mapping[str, Any], step: Mapping[str, Any]) -> None:
        """Tells an answer of the model: in pieces where that was asked for, and as a whole."""
        read, written = step.get("usage", (100, 20))
        message = {"id": f"msg_{uuid.uuid4().hex}", "role": "assistant", "model": self.model}
        usage = {"input_tokens": read, "output_tokens": 1}
        if self.asked.include_partial_messages:
            begun = {"type": "message_start", "message": {**message, "content": [], "usage": usage}}
            self.tell(type="stream_event", event=begun, parent_tool_use_id=None)
        self.tell(type="assistant", message={**message, "content": [block], "usage": usage})
        if self.asked.include_partial_messages:
            ended = {"type": "message_delta", "usage": {"input_tokens": read, "output_tokens": written}}
            self.tell(type="stream_event", event=ended, parent_tool_use_id=None)
        self.read, self.written, self.turns = self.read + read, self.written + written, self.turns + 1
        self._keep()

    def _use(self, tool: str, given: Mapping[str, Any], step: Mapping[str, Any]) -> None:
        name = f"toolu_{uuid.uuid4().hex}"
        self._answer({"type": "tool_use", "id": name, "name": tool, "input": given}, step)
        said, is_error = self._done(tool, given, name)
        block = {"type": "tool_result", "tool_use_id": name, "content": said, "is_error": is_error}
        self.tell(type="user", message={"role": "user", "content": [block]}, parent_tool_use_id=None)

    def _done(self, tool: str, given: Mapping[str, Any], name: str) -> tuple[str, bool]:
        """Does what a tool does, if it may; returns what it says, and whether it is an error."""
        if tool not in self.tools:
            return f"<tool_use_error>Error: No such tool available: {tool}.</tool_use_error>", True
        if not self._permitted(tool, given):
            self.denials.append({"tool_name": tool, "tool_use_id": name, "tool_input": dict(given)})
            return f"Permission to use {tool} has been denied.", True
        if tool == "StructuredOutput":
            lacking = [n for n in json.loads(self.asked.json_schema).get("required", ()) if n not in given]
            if lacking:
                return f"Output does not match required schema: must have {lacking[0]}", True
            self.object = given
            return "Structured output provided successfully", False
        if tool == "Write":
            path = Path(given["file_path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(given["content"])
            return f"File created successfully at: {path}", False
        done = subprocess.run(  # noqa: S602 - what a shell is for
            given["command"], shell=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment(),
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")[:30000], done.returncode != 0

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": self.session}

    def _permitted(self, tool: str, given: Mapping[str, Any]) -> bool:
        mode, allowed = self.asked.permission_mode, self.asked.allowedTools or ()
        if tool == "StructuredOutput" or mode == "bypassPermissions" or tool in allowed:
            return True
        if tool == "Bash":
            # What only reads needs nobody's leave. This knows two such commands.
            return re.match(r"(ls|git status)\b[^;&|<>$`]*$", given["command"]) is not None
        return mode == "acceptEdits" and Path(given["file_path"]).is_relative_to(Path.cwd())

    def _fault(self, status: int, after: float | None) -> int:
        retries, delay = int(os.environ.get("CLAUDE_CODE_MAX_RETRIES", "10")), after or 0.5
        transient = status in {401, 408, 409, 429, 529} or status >= 500
        for attempt in range(1, retries + 1) if transient and delay <= LONGEST_WAIT else ():
            self.tell(
                type="system", subtype="api_retry", attempt=attempt, max_retries=retries,
                retry_delay_ms=delay * 1000, error_status=status, error="rate_limit",
            )  # fmt: skip
            time.sleep(delay)
        said = f"API Error: Request rejected ({status})"
        kind = {
            429: "rate_limit",
            529: "overloaded",
            401: "authentication_failed",
            403: "authentication_failed",
        }.get(status, "unknown")
        message = {
            "id": str(uuid.uuid4()),
            "model": "<synthetic>",
            "content": [{"type": "text", "text": said}],
        }
        self.tell(type="assistant", message=message, error=kind)
        rest = {"result": said, "api_error_status": status, "terminal_reason": "api_error"}
        return self.result("success", is_error=True, **rest)

    def usd(self) -> float:
        """Returns what this run has cost."""
        return self.read * READ + self.written * WRITTEN

    def totals(self) -> dict[str, Any]:
        """Returns what the conversation has cost in all, as far as this version adds it up."""
        return {
            "usd": self.former["usd"] + self.usd(),
            "read": self.former["read"] + self.read,
            "written": self.former["written"] + self.written,
        }

    def result(self, subtype: str, *, is_error: bool = False, **rest: Any) -> int:
        """Tells the result, and returns the exit code."""
        totals = self.totals()
        model = {"inputTokens": totals["read"], "outputTokens": totals["written"], "costUSD": totals["usd"]}
        found: dict[str, Any] = {
            "type": "result",
            "subtype": subtype,
            "is_error": is_error,
            "num_turns": self.turns,
            "total_cost_usd": totals["usd"],
            "modelUsage": {self.model: model},
            "permission_denials": self.denials,
            "usage": {"input_tokens": self.read, "output_tokens": self.written},
        }
        if self.object is not None:
            found["structured_output"] = self.object
        self.tell(**found | rest)
        return 1 if is_error else 0

    def _keep(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps({**self.totals(), "prompt": self.prompt}) + "\n")


def _servers(file: str) -> Sequence[str]:
    try:
        return list(json.loads(Path(file).read_text())["mcpServers"])
    except OSError as error:
        raise Refused(f"Error: Invalid MCP configuration:\nMCP config file not found: {file}") from error


def main(arguments: Sequence[str]) -> int:
    """Plays, and returns the exit code."""
    return played(arguments, f"{os.environ.get(VERSION, LATEST)} (Claude Code)", _run)


def _run(arguments: Sequence[str]) -> int:
    asked = options(arguments)
    prompt = prompt_on_input("Error: Input must be provided either through stdin or as a prompt argument")
    client = Client(asked, prompt)
    return client.play(steps_for(SCRIPT, prompt, resumed=asked.resume is not None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
