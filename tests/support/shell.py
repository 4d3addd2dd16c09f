"""Runs the program as its user does: as a process, in a directory, with arguments and a terminal or none."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stratum_git.model.ids import Json
from tests.support.launcher import Launcher, launching
from tests.support.repos import ScratchRepo

# -P: as the installed script, which takes no module from the directory that it is started in.
PROGRAM = (sys.executable, "-P", "-m", "stratum_git")

SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
"""


@cache
def launcher() -> Launcher:
    """Starts programs for all tests of this process; its own process ends with this one."""
    return atexit_stack().enter_context(launching())


@cache
def atexit_stack() -> ExitStack:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack


@dataclass(frozen=True)
class Said:
    """How the program ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Json:
        """What it printed, read as JSON."""
        found: Json = json.loads(self.out)
        return found

    def error(self) -> dict[str, Json]:
        """The error that it told in JSON."""
        answer = self.json()
        assert isinstance(answer, dict)
        error = answer["error"]
        assert isinstance(error, dict)
        return error


@dataclass
class Shell:
    """A user in a scratch repository, with a home of his own."""

    home: Path
    repo: ScratchRepo

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state")}

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 60.0) -> Said:
        """Runs the program to its end, as a process that need not load it again."""
        with tempfile.TemporaryDirectory(prefix="said-") as folder:
            place, where = Path(folder, "run"), cwd or self.repo.path
            done = launcher().start([*words], cwd=where, env=self.environment, place=place).wait(timeout)
        return Said(done.code, done.out, done.err)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts the program in a session of its own; whoever starts it waits for it."""
        return subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.repo.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def file(self, name: str, text: str) -> Path:
        """Writes a file beside the repository."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def tasks(self, *tasks: Json) -> str:
        """Returns the option that gives tasks to a flow."""
        return f"--input=tasks=@{self.file('tasks.json', json.dumps(list(tasks)))}"

    def agent(self, script: str, name: str = "default") -> str:
        """Returns the option for an agent that is a shell script."""
        path = self.file(f"agent-{name}", f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return f"--agent={name}={path}"

    def unfenced_agent(self, script: str) -> None:
        """Makes a shell script the default agent, by the project's settings; its git may do anything."""
        path = self.file("agent-unfenced", f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        settings = self.repo.path / ".stratum/config.yaml"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(f"agents: {{default: {{command: ['{path}'], fence: off}}}}\n")
        with (self.repo.path / ".git/info/exclude").open("a") as file:
            file.write("/.stratum/\n")

    def spec(self, text: str = SPEC) -> str:
        """Returns the path of a spec."""
        return str(self.file("spec.yaml", text))

    def flow(self) -> str:
        """Returns the id of the only flow."""
        (flow,) = self.flows()
        return flow

    def flows(self) -> list[str]:
        return self.repo.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/stratum/flows").split()

    def traces(self) -> tuple[str, str, bool]:
        """What a run could have left: refs, worktrees, folders of slots."""
        refs = self.repo.git("for-each-ref", "refs/stratum", "refs/heads/stratum")
        return refs, self.repo.git("worktree", "list"), any((self.home / "state").glob("**/slot-*"))


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
    """Sends a signal and waits for the end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def wait_for(path: Path) -> None:
    """Waits until a file is there."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)
