"""Our own processes that are at work in the repository, and whether they run what is installed now.

A server lives as long as its client's session: after an upgrade it goes on with the code of before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.doctor.finding import Finding
from stratum_git.git.repository import Repository
from stratum_git.resources import PACKAGE

VERBS = (b"mcp", b"run", b"resume")
PROC = Path("/proc")
SLACK = 2.0
"""Seconds by which start times are not exact."""


@dataclass(frozen=True, slots=True)
class Process:
    """One of ours: what it does, and when it began, in seconds since the epoch."""

    pid: int
    verb: str
    began: float


def running(repo: Repository, changed: float | None = None, own: int | None = None) -> Iterator[Finding]:
    """Says which servers and runs are at work here, and which are older than the program.

    It is of *changed*, seconds since the epoch: by default, when its newest file was written. What process
    *own* started, by default this one, is left out.
    """
    found = tuple(_processes(repo, os.getpid() if own is None else own))
    if changed is None:
        changed = max((path.stat().st_mtime for path in PACKAGE.rglob("*.py")), default=0.0)
    if found:
        told = ", ".join(f"{one.verb} (pid {one.pid})" for one in found)
        yield Finding("running", "ok", f"at work here: {told}")
    for one in found:
        if one.began + SLACK < changed:
            what = "reconnect it: /mcp in the client" if one.verb == "mcp" else "it ends by itself"
            detail = f"{one.verb} (pid {one.pid}) was started before this version was installed"
            yield Finding("running", "warn", detail, what, f"kill {one.pid}" if one.verb == "mcp" else "")


def _processes(repo: Repository, own: int) -> Iterator[Process]:
    boot = _boot()
    for entry in sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            verb = _verb((entry / "cmdline").read_bytes().split(b"\0"))
            if verb is None or not (entry / "cwd").readlink().is_relative_to(repo.root):
                continue
            facts = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks, parent = int(facts[19]), int(facts[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == own:
            # The doctor asks a server of its own.
            continue
        yield Process(int(entry.name), verb, boot + ticks / os.sysconf("SC_CLK_TCK"))


def _verb(words: list[bytes]) -> str | None:
    """Returns what a process of ours was asked to do, ``None`` of another one."""
    for place, word in enumerate(words[:6]):
        ours = word.rpartition(b"/")[2] == b"stratum-git" or (
            word == b"stratum_git" and words[place - 1] == b"-m"
        )
        if ours and len(words) > place + 1 and words[place + 1] in VERBS:
            return words[place + 1].decode()
    return None


def _boot() -> float:
    rows = (line.split() for line in (PROC / "stat").read_text().splitlines())
    return next((float(row[1]) for row in rows if row and row[0] == "btime"), 0.0)
