"""Real clients, with a model that a test scripts: no account, no network, a home of their own.

They are looked for in ``$REAL_CLIENTS`` (``~/.cache/real-clients``) and in ``PATH``; where one is not
installed its tests are skipped with a word. None of them is shipped.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stratum_git.fakes import messages_api
from stratum_git.fakes.loopback import Limits, Loopback
from tests.support.nowhere import nowhere
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell

PATIENCE = 120.0
"""Seconds after which a client is taken to hang."""
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_BUG_COMMAND": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "IS_SANDBOX": "1",
}
CLAUDES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "latest": ("cc_latest", {}),
    "legacy": ("cc_latest", {"MCP_PROTOCOL_NEGOTIATION": "legacy"}),
    "older": ("cc", {}),
}
"""The clients that are tried: where they lie, and what their environment has beside."""


def shelf() -> Path:
    """Returns where clients are installed."""
    # The tests' own home is another one.
    return Path(os.environ.get("REAL_CLIENTS", Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache/real-clients")))


def installed(folder: str, program: str, name: str) -> Path:
    """Returns a program that lies on the shelf, or is in ``PATH``; skips the test where there is none."""
    path = shelf() / folder / "node_modules" / program
    found = str(path) if path.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: neither {path} nor in PATH")
    return Path(found)


@dataclass
class Run:
    """A client at work, or what it left."""

    process: subprocess.Popen[bytes]
    place: Path

    def wait(self, patience: float = PATIENCE) -> Run:
        """Waits for its end."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the client hangs: {self.told()}") from None
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> Run:
        """Sends a signal to the client alone, and waits for its end."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return self

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def told(self) -> str:
        """What it said, for whoever wonders why."""
        return f"{self.out[-3000:]}\n{self.err[-3000:]}"

    @property
    def code(self) -> int:
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def out(self) -> str:
        return (self.place / "out").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.place / "err").read_text(errors="replace")

    @property
    def result(self) -> dict[str, Any]:
        """What Claude Code says of a session with ``--output-format json``."""
        found = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        rows = [row for row in found if row.get("type") == "result"]
        assert rows, self.told()
        last: dict[str, Any] = rows[-1]
        return last


@dataclass
class House:
    """Where clients live: a user in a repository, a model behind ``api``, and no way out."""

    shell: Shell
    api: Loopback
    inside: tuple[str, ...]
    place: Path
    program: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @property
    def repo(self) -> ScratchRepo:
        return self.shell.repo

    @property
    def environment(self) -> dict[str, str]:
        """Returns what a client is started with: nothing of the tests' environment but git's settings."""
        ours = self.shell.environment
        kept = {name: ours[name] for name in ours if name.startswith(("GIT_", "XDG_", "HOME"))}
        scripts = str(Path(sys.executable).parent)
        return {
            **kept,
            **QUIET,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "TERM": "xterm",
            "TMPDIR": str(self.place),
            "ANTHROPIC_BASE_URL": self.api.url,
            "ANTHROPIC_API_KEY": "sk-ant-fake-000",
            "HTTP_PROXY": self.api.url,
            "HTTPS_PROXY": self.api.url,
            "NO_PROXY": "127.0.0.1,localhost",
            **self.more,
        }

    def start(
        self, words: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Run:
        """Starts a program in there, with nothing on standard input."""
        place = self.place / f"run-{len(self.runs)}"
        place.mkdir(parents=True)
        with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
            process = subprocess.Popen(
                [*self.inside, *words],
                cwd=cwd or self.repo.path,
                env={**self.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.runs.append(Run(process, place))
        return self.runs[-1]

    def claude(self, prompt: str, *words: str, cwd: Path | None = None) -> Run:
        """Starts Claude Code with a prompt, without a terminal."""
        assert self.program is not None
        told = ("-p", prompt, "--output-format", "json", "--dangerously-skip-permissions", *words)
        return self.start([str(self.program), *told], cwd=cwd)

    def install(self) -> None:
        """Installs stratum-git into the project, as its user would, and commits what that wrote."""
        program = Path(sys.executable).with_name("stratum-git")
        run = self.start([str(program), "install"]).wait()
        assert run.code == 0, run.told()
        self.repo.commit("Use stratum-git")

    def end(self) -> None:
        """Ends what is still at work."""
        for run in self.runs:
            if run.process.poll() is None:
                run.kill()


@contextmanager
def housed(
    shell: Shell, place: Path, script: Any, *, serve: Any = messages_api.serve, **more: Any
) -> Iterator[House]:
    """Gives a house whose model says *script*, in the words of *serve*."""
    limits = Limits(deadline=3 * PATIENCE, watch=os.getpid())
    with nowhere() as (listener, inside), serve(script, listener=listener, limits=limits) as api:
        house = House(shell, api, inside, place, **more)
        try:
            yield house
        finally:
            house.end()


def servers(place: Path) -> list[int]:
    """Returns the servers of ours that were started in *place* and live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"mcp" in words and (folder / "cwd").readlink() == place:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def until(holds: Any, what: str, patience: float = PATIENCE) -> None:
    """Waits until *holds* returns something true."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
