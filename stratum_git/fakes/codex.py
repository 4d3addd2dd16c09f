"""A stand-in for ``codex exec --json``: the same options, events, files and exit codes, and no model.

``python -m stratum_git.fakes.codex exec OPTIONS [resume ID] - < PROMPT`` plays the JSON file that
``STRATUM_FAKE_CODEX`` names, with lanes and steps as in ``claude.py``::

    {"lanes": [{"match": "api", "steps": [STEP, ...]},      # the first whose pattern is found in the prompt
               {"resumed": true, "steps": [STEP, ...]},     # only when a conversation goes on
               {"steps": [{"text": "nothing to do"}]}]}

A STEP is one of: ``{"text": T}`` says it, ``{"bash": COMMAND}`` runs it, ``{"write": PATH, "text": T}`` makes
a file, ``{"object": O}`` says it as JSON, ``{"error": STATUS, "message": T}`` is the API's answer,
``{"sleep": S}`` waits, ``{"raw": T}`` prints it as it is, ``{"exit": CODE, "stderr": T}`` ends it there.
``usage`` in a step says how many tokens its answer reads and writes, ``[100, 20]`` if not.

As in 0.169: costs are those of the whole conversation, which lies in a file under ``CODEX_HOME`` or ``HOME``;
each request is noted there before what it asks for is done. Of the sandbox it knows that ``read-only`` writes
nothing, and that files are written in the workspace alone. What it does not know it refuses, as the real one
does. ``tests/agents/test_contract.py`` holds both to the same tests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from stratum_git.fakes.playing import Refused, played, prompt_on_input, steps_for

SCRIPT = "STRATUM_FAKE_CODEX"
VERSION = "0.169.0"
RETRIES = 5
LOOKS = re.compile(r"(ls|cat|pwd|true|git (status|log|diff|show))\b[^;&|<>$`]*$")
"""Commands that are known not to write."""
STATUS = {
    400: "{said}",
    401: "unexpected status 401 Unauthorized: {said}",
    429: "exceeded retry limit, last status: 429 Too Many Requests",
    503: "Selected model is at capacity. Please try a different model.",
}
PATIENT = frozenset({401, 429})
"""What it tries again, and tells that."""


class Parser(argparse.ArgumentParser):
    """Takes the options of the real one; of others it says what that does."""

    def error(self, message: str) -> NoReturn:
        """Raises Refused."""
        raise Refused(f"error: {message}", 2)


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns what was asked for; raises Refused."""
    parser = Parser(add_help=False, allow_abbrev=False)
    for name in ("--json", "--skip-git-repo-check", "--ephemeral"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--color", choices=("always", "never", "auto"))
    modes = ("read-only", "workspace-write", "danger-full-access")
    parser.add_argument("-s", "--sandbox", choices=modes, default="read-only")
    for short, name in (("-c", "--config"), ("-i", "--image")):
        parser.add_argument(short, name, action="append", default=[])
    parser.add_argument("--add-dir", action="append", default=[])
    for name in ("--output-schema", "--output-last-message"):
        parser.add_argument(name)
    parser.add_argument("-C", "--cd", default=".")
    parser.add_argument("-m", "--model")
    parser.add_argument("words", nargs="*")
    asked, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        raise Refused(f"error: unexpected argument '{unknown[0]}' found", 2)
    match asked.words:
        case ["exec", "-"]:
            asked.resume = None
        case ["exec", "resume", session, "-"]:
            asked.resume = session
        case _:
            raise Refused("error: this fake does only exec [resume ID] -", 2)
    if not asked.json:
        raise Refused("error: this fake does only exec --json", 2)
    return asked


class Client:
    """One run: what it was told, what it tells."""

    def __init__(self, asked: argparse.Namespace, prompt: str) -> None:
        self.asked, self.prompt = asked, prompt
        self.place = Path(asked.cd).resolve()
        self.thread = asked.resume or str(uuid.uuid4())
        self.file, self.read, self.written = self._rollout()
        self.model = asked.model or "fake-model"
        self.items = 0
        self.said = ""

    def _rollout(self) -> tuple[Path, int, int]:
        """Returns where the conversation lies, and the tokens that it has used."""
        home = Path(os.environ.get("CODEX_HOME") or Path(os.environ.get("HOME", "/")) / ".codex")
        if self.asked.resume is None:
            now = time.gmtime()
            name = f"rollout-{time.strftime('%Y-%m-%dT%H-%M-%S', now)}-{self.thread}.jsonl"
            return home / "sessions" / time.strftime("%Y/%m/%d", now) / name, 0, 0
        found = sorted((home / "sessions").glob(f"*/*/*/rollout-*-{self.thread}.jsonl"))
        if not found:
            said = f"no rollout found for thread id {self.thread} (code -32600)"
            raise Refused(f"Error: thread/resume: thread/resume failed: {said}")
        notes = [json.loads(line)["payload"] for line in found[0].read_text().splitlines()]
        totals = [note["thread_token_usage"] for note in notes if "thread_token_usage" in note]
        last = totals[-1] if totals else {"input_tokens": 0, "output_tokens": 0}
        return found[0], last["input_tokens"], last["output_tokens"]

    def tell(self, **event: Any) -> None:
        """Writes an event."""
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def note(self, kind: str, **payload: Any) -> None:
        """Adds a line to the file of the conversation."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps({"type": kind, "payload": payload}) + "\n")

    def play(self, steps: Sequence[Mapping[str, Any]]) -> int:
        """Plays the steps to the end, and returns the exit code."""
        self.tell(type="thread.started", thread_id=self.thread)
        self.note("turn_context", model=self.model, cwd=str(self.place))
        self.note("response_item", type="message", role="user", content=self.prompt)
        self.tell(type="turn.started")
        for step in steps:
            code = self._step(step)
            if code is not None:
                return code
        if self.asked.output_last_message:
            Path(self.asked.output_last_message).write_text(self.said)
        self.tell(type="turn.completed", usage=self._usage())
        return 0

    def _step(self, step: Mapping[str, Any]) -> int | None:
        match step:
            case {"error": status}:
                return self._fault(int(status), step.get("message", "as the script says"))
            case {"exit": code}:
                sys.stderr.write(step.get("stderr", ""))
                return int(code)
            case {"sleep": seconds}:
                time.sleep(seconds)
            case {"raw": text}:
                sys.stdout.write(text)
                sys.stdout.flush()
            case {"bash": command}:
                self._answered(step)
                self._run(command)
            case {"write": path}:
                self._answered(step)
                self._write(Path(path), step["text"])
            case {"object": found}:
                self._answered(step)
                self._say(json.dumps(found))
            case {"text": text}:
                self._answered(step)
                self._say(text)
            case _:
                raise Refused(f"Error: no such step: {json.dumps(step)}")
        return None

    def _answered(self, step: Mapping[str, Any]) -> None:
        read, written = step.get("usage", (100, 20))
        self.read, self.written = self.read + read, self.written + written
        self.note("token_usage_record", thread_id=self.thread, thread_token_usage=self._usage())

    def _usage(self) -> dict[str, int]:
        return {
            "input_tokens": self.read, "cached_input_tokens": 0, "cache_write_input_tokens": 0,
            "output_tokens": self.written, "reasoning_output_tokens": 0,
        }  # fmt: skip

    def _say(self, text: str) -> None:
        self.said = text
        self.tell(type="item.completed", item={**self._item("agent_message"), "text": text})

    def _item(self, kind: str) -> dict[str, Any]:
        self.items += 1
        return {"id": f"item_{self.items}", "type": kind}

    def _run(self, command: str) -> None:
        login = "-lc" if "allow_login_shell=false" not in self.asked.config else "-c"
        item = {**self._item("command_execution"), "command": shlex.join(["/bin/bash", login, command])}
        begun = {"aggregated_output": "", "exit_code": None, "status": "in_progress"}
        self.tell(type="item.started", item={**item, **begun})
        if self.asked.sandbox == "read-only" and not LOOKS.match(command):
            said, code = "/bin/bash: line 1: Read-only file system\n", 1
        else:
            done = subprocess.run(
                ["/bin/bash", login, command], check=False, stdin=subprocess.DEVNULL, cwd=self.place,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment(),
            )  # fmt: skip
            said, code = done.stdout.decode("utf-8", "replace"), done.returncode
        over = {"exit_code": code, "status": "failed" if code else "completed"}
        self.tell(type="item.completed", item={**item, "aggregated_output": said, **over})

    def _environment(self) -> dict[str, str]:
        ids = {"CODEX_THREAD_ID": self.thread, "CODEX_SESSION_ID": self.thread, "CODEX_CI": "1"}
        return {**os.environ, **ids, "CODEX_SANDBOX_NETWORK_DISABLED": "1"}

    def _write(self, path: Path, text: str) -> None:
        target = (self.place / path).resolve()
        inside = any(target.is_relative_to(Path(top).resolve()) for top in (self.place, *self.asked.add_dir))
        if self.asked.sandbox == "read-only" or not inside:
            # The model is told, and nobody else is.
            return
        changes = [{"path": str(target), "kind": "update" if target.exists() else "add"}]
        item = {**self._item("file_change"), "changes": changes}
        self.tell(type="item.started", item={**item, "status": "in_progress"})
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        self.tell(type="item.completed", item={**item, "status": "completed"})

    def _fault(self, status: int, message: str) -> int:
        said = STATUS.get(status, f"unexpected status {status}: {{said}}").format(said=message)
        if status == 429 and "try again" in message.lower():
            # So it tells what came in the middle of a stream.
            said = f"rate limit exceeded: {message}"
        for number in range(1, RETRIES + 1) if status in PATIENT else ():
            self.tell(type="error", message=f"Reconnecting... {number}/{RETRIES} ({said})")
        self.tell(type="error", message=said)
        self.tell(type="turn.failed", error={"message": said})
        return 1


def main(arguments: Sequence[str]) -> int:
    """Plays, and returns the exit code."""
    return played(arguments, f"codex-cli {VERSION}", _run)


def _run(arguments: Sequence[str]) -> int:
    asked = options(arguments)
    prompt = prompt_on_input("No prompt provided via stdin.")
    if asked.output_schema and not Path(asked.output_schema).is_file():
        why = "No such file or directory (os error 2)"
        raise Refused(f"Failed to read output schema file {asked.output_schema}: {why}")
    client = Client(asked, prompt)
    return client.play(steps_for(SCRIPT, prompt, resumed=asked.resume is not None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
