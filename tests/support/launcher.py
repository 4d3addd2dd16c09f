"""Starts the program as a process within milliseconds: forks of one that has loaded it already.

A process that is started so is the program in all but its start: it has a session, an environment and pipes
of its own. Its parent is a keeper, who notes how it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
"""Seconds after which a program is taken to hang."""

CODE = """
import gc, importlib, json, os, signal, sys
from stratum_git.cli.main import VERBS, main
for name in {module for module, *_ in VERBS.values()}:
    importlib.import_module("stratum_git.cli." + name)

def become(order):
    os.setsid()
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    for number, (name, flags) in enumerate(order["streams"]):
        os.dup2(os.open(name, flags, 0o600), number)
    try:
        code = main(order["words"])
    except SystemExit as asked:
        code = asked.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

def keep(order, writer):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(writer)
        try:
            become(order)
        finally:
            os._exit(99)
    os.write(writer, b"%d" % child)
    os.close(writer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(order["code"] + ".new", "w") as file:
        file.write(str(code))
    os.rename(order["code"] + ".new", order["code"])

gc.freeze()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            keep(json.loads(line), writer)
        finally:
            os._exit(0)
    os.close(writer)
    print(os.read(reader, 16).decode(), flush=True)
    os.close(reader)
"""


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, negative for a signal, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Started:
    """A program that was started, and the folder in which its streams and its end are noted."""

    pid: int
    place: Path

    def is_over(self) -> bool:
        return (self.place / "code").exists()

    def wait(self, patience: float = PATIENCE) -> Ended:
        """Waits for its end."""
        deadline = time.monotonic() + patience
        while not self.is_over():
            if time.monotonic() > deadline:
                raise AssertionError(f"process {self.pid} hangs: {self._said('err')[-2000:]}")
            time.sleep(0.002)
        return Ended(int(self._said("code")), self._said("out"), self._said("err"))

    def _said(self, name: str) -> str:
        path = self.place / name
        return path.read_text(errors="replace") if path.is_file() else ""


class Launcher:
    """Starts programs. Safe for several threads."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._turn = threading.Lock()

    def start(
        self, words: list[str], *, cwd: Path, env: Mapping[str, str], place: Path, pipes: bool = False
    ) -> Started:
        """Starts the program in *cwd*; with *pipes* its input and output are the pipes ``in`` and ``out``."""
        place.mkdir(parents=True)
        if pipes:
            os.mkfifo(place / "in")
            os.mkfifo(place / "out")
        made = os.O_WRONLY | os.O_CREAT
        streams = [
            (str(place / "in") if pipes else os.devnull, os.O_RDONLY),
            (str(place / "out"), os.O_WRONLY if pipes else made),
            (str(place / "err"), made),
        ]
        order = {
            "words": words,
            "cwd": str(cwd),
            "env": dict(env),
            "streams": streams,
            "code": str(place / "code"),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return Started(int(self._process.stdout.readline()), place)


@contextmanager
def launching() -> Iterator[Launcher]:
    """Gives a launcher; what it started goes on without it."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Launcher(process)
        process.communicate()
