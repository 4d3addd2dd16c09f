"""A stand-in for ``opencode run --format json``: the same options, events and exit codes, and no model.

``python -m stratum_git.fakes.opencode run OPTIONS < PROMPT`` plays the JSON file that
``STRATUM_FAKE_OPENCODE`` names, with lanes and steps as in ``claude.py``::

    {"lanes": [{"match": "api", "steps": [STEP, ...]},      # the first whose pattern is found in the prompt
               {"resumed": true, "steps": [STEP, ...]},     # only when a conversation goes on
               {"steps": [{"text": "nothing to do"}]}]}

A STEP is one of: ``{"text": T}`` says it, ``{"bash": COMMAND}`` runs it, ``{"write": PATH, "text": T}`` makes
a file, ``{"object": O}`` says it as JSON, ``{"error": STATUS, "retry_after": S, "message": T}`` is the API's
answer, ``{"sleep": S}`` waits, ``{"raw": T}`` prints it as it is, ``{"exit": CODE, "stderr": T}`` ends it
there. ``usage`` in a step says how many tokens its answer reads and writes, ``[100, 20]`` if not.

As in 1.18: the settings come in ``OPENCODE_CONFIG_CONTENT``, what an agent of them may do is held to, and who
is no agent there is told so and replaced. What an answer costs is told when what it asks for is done. Of
rules of commands it knows whole lines, and no syntax of a shell. Conversations lie under ``HOME``, each tied
to the directory in which it began. What it does not know it refuses, as the real one does.
``tests/agents/test_contract.py`` holds both to the same tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from stratum_git.fakes.playing import Refused, played, prompt_on_input, steps_for

SCRIPT = "STRATUM_FAKE_OPENCODE"
VERSION = "1.18.33"
READ, WRITTEN = 3e-6, 15e-6
"""Dollars for a token."""
RETRIED = frozenset({429, 503, 529})
AGENTS = ("build", "plan")


class Parser(argparse.ArgumentParser):
    """Takes the options of the real one; of others it says what that does."""

    def error(self, message: str) -> NoReturn:
        """Raises Refused."""
        raise Refused(f"opencode run [message..]\n\n{message}")


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns what was asked for; raises Refused."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--format", choices=("default", "json"), default="default")
    for short, name in (("-s", "--session"), ("-m", "--model")):
        parser.add_argument(short, name)
    for name in ("--agent", "--title", "--variant", "--dir"):
        parser.add_argument(name)
    for name in ("--pure", "--auto", "--print-logs"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("words", nargs="*")
    asked, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown or asked.words[:1] != ["run"]:
        raise Refused("opencode run [message..]\n\nrun opencode with a message")
    if asked.format != "json" or len(asked.words) > 1:
        raise Refused("Error: this fake does only run --format json, with the message as its input")
    return asked


class Client:
    """One run: what it was told, what it tells."""

    def __init__(self, asked: argparse.Namespace, prompt: str) -> None:
        self.asked, self.prompt = asked, prompt
        self.settings = json.loads(os.environ.get("OPENCODE_CONFIG_CONTENT") or "{}")
        self.session = asked.session or f"ses_{uuid.uuid4().hex[:26]}"
        home = os.environ.get("XDG_DATA_HOME") or str(Path(os.environ.get("HOME", "/")) / ".local/share")
        self.file = Path(home) / "opencode" / "fake" / f"{self.session}.jsonl"
        if asked.session is not None and not self.file.exists():
            raise Refused("\x1b[91m\x1b[1mError: \x1b[0mSession not found")
        began = json.loads(self.file.read_text().splitlines()[0])["directory"] if asked.session else None
        self.is_elsewhere = began is not None and began != str(Path.cwd())
        if began is not None:
            os.chdir(began)
        self.rules = self._rules()

    def _rules(self) -> list[tuple[str, str, str]]:
        """Returns what the agent may do: the last rule that fits says it."""
        known = self.settings.get("agent", {})
        rules: Mapping[str, Any] = {"*": "allow"}
        if self.asked.agent in known:
            rules = {**rules, **known[self.asked.agent].get("permission", {})}
        elif self.asked.agent is not None and self.asked.agent not in AGENTS:
            said = f'agent "{self.asked.agent}" not found. Falling back to default agent'
            sys.stderr.write(f"\x1b[93m\x1b[1m! \x1b[0m {said}\n")
        found = []
        for permission, rule in rules.items():
            each = rule if isinstance(rule, dict) else {"*": rule}
            found += [(permission, pattern, action) for pattern, action in each.items()]
        return found

    def may(self, permission: str, what: str) -> bool:
        """Returns whether it may do this; who would be asked is not."""
        action = "ask"
        for wanted, pattern, said in self.rules:
            if fnmatchcase(permission, wanted) and fnmatchcase(what, pattern):
                action = said
        return action == "allow"

    def tell(self, kind: str, **rest: Any) -> None:
        """Writes an event."""
        if self.is_elsewhere:
            return
        event = {"type": kind, "timestamp": int(time.time() * 1000), "sessionID": self.session, **rest}
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def play(self, steps: Sequence[Mapping[str, Any]]) -> int:
        """Plays the steps to the end, and returns the exit code."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            note = {"directory": str(Path.cwd()), "prompt": self.prompt, "title": self.asked.title}
            file.write(json.dumps(note) + "\n")
        for number, step in enumerate(steps, 1):
            code = self._step(step, last=number == len(steps))
            if code is not None:
                return code
        while self.is_elsewhere:
            # It waits for events of the directory that it was started in, and there are none.
            time.sleep(1)
        return 0

    def _step(self, step: Mapping[str, Any], *, last: bool) -> int | None:
        match step:
            case {"error": status}:
                return self._fault(int(status), step)
            case {"exit": code}:
                sys.stderr.write(step.get("stderr", ""))
                return int(code)
            case {"sleep": seconds}:
                time.sleep(seconds)
            case {"raw": text}:
                sys.stdout.write(text)
                sys.stdout.flush()
            case {"bash": command}:
                self._answer("bash", {"command": command, "description": "runs it"}, step)
            case {"write": path}:
                given = {"filePath": str(Path(path).absolute()), "content": step["text"]}
                self._answer("write", given, step)
            case {"object": found}:
                self._text(json.dumps(found), step, last=last)
            case {"text": text}:
                self._text(text, step, last=last)
            case _:
                raise Refused(f"Error: no such step: {json.dumps(step)}")
        return None

    def _text(self, text: str, step: Mapping[str, Any], *, last: bool) -> None:
        self._begin()
        self.tell("text", part=self._part(type="text", text=text))
        self._finish(step, "stop" if last else "tool-calls")

    def _answer(self, tool: str, given: Mapping[str, Any], step: Mapping[str, Any]) -> None:
        self._begin()
        state = self._done(tool, given)
        self.tell("tool_use", part=self._part(type="tool", tool=tool, state={"input": given, **state}))
        self._finish(step, "tool-calls")

    def _begin(self) -> None:
        self.tell("step_start", part=self._part(type="step-start"))

    def _part(self, **rest: Any) -> dict[str, Any]:
        return {"id": f"prt_{uuid.uuid4().hex[:26]}", "sessionID": self.session, **rest}

    def _finish(self, step: Mapping[str, Any], reason: str) -> None:
        read, written = step.get("usage", (100, 20))
        cache = {"read": 0, "write": 0}
        tokens = {
            "total": read + written,
            "input": read,
            "output": written,
            "reasoning": 0,
            "cache": cache,
        }
        cost = read * READ + written * WRITTEN
        self.tell("step_finish", part=self._part(type="step-finish", reason=reason, tokens=tokens, cost=cost))

    def _done(self, tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Does what a tool does, if it may; returns what came of it."""
        refused = "The user has specified a rule which prevents you from using this specific tool call."
        if tool == "write":
            path = Path(given["filePath"])
            outside = not path.is_relative_to(Path.cwd())
            if not self.may("edit", str(path)):
                return {"status": "error", "error": "Model tried to call unavailable tool 'invalid'."}
            if outside and not self.may("external_directory", str(path)):
                return {"status": "error", "error": refused}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(given["content"])
            return {"status": "completed", "output": "Wrote file successfully.", "title": path.name}
        if not self.may("bash", given["command"]):
            return {"status": "error", "error": refused}
        done = subprocess.run(  # noqa: S602 - what a shell is for
            given["command"], shell=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment(),
        )  # fmt: skip
        output = done.stdout.decode("utf-8", "replace")
        title = given["command"]
        return {
            "status": "completed",
            "output": output,
            "title": title,
            "metadata": {"exit": done.returncode},
        }

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OPENCODE": "1", "AGENT": "1", "OPENCODE_PID": str(os.getpid())}

    def _fault(self, status: int, step: Mapping[str, Any]) -> int:
        after = step.get("retry_after")
        data = {
            "message": step.get("message", "as the script says"),
            "statusCode": status,
            "isRetryable": status in RETRIED,
            "responseHeaders": {} if after is None else {"retry-after": f"{after:g}"},
        }
        self.tell("error", error={"name": "APIError", "data": data})
        return 1


def main(arguments: Sequence[str]) -> int:
    """Plays, and returns the exit code."""
    return played(arguments, VERSION, _run)


def _run(arguments: Sequence[str]) -> int:
    asked = options(arguments)
    prompt = prompt_on_input("Error: You must provide a message or a command")
    client = Client(asked, prompt)
    return client.play(steps_for(SCRIPT, prompt, resumed=asked.session is not None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
