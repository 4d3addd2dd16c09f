"""Words for tests: take a slot, look whether it is as good as new, let another process take one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stratum_git.git.process import Git
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.occupancy import Kind, Occupant
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot

ROOT = Path(__file__).parents[2]


def branch_of(task: str) -> RefName:
    return RefName(f"refs/heads/stratum/flow/{task}")


def take(
    pool: SlotPool, base: Oid, task: str = "t1", isolation: Kind = "worktree", keep: tuple[str, ...] = ()
) -> Slot:
    occupant = Occupant("flow", "step", task, 1)
    return pool.acquire(
        base=base, branch=branch_of(task), occupant=occupant, isolation=isolation, keep_ignored=keep
    )


def git(path: Path, *args: str) -> str:
    return Git(path).run(*args).stdout.decode().strip()


def condition(path: Path) -> tuple[str, str, str]:
    """Branch or HEAD, commit, and everything in it that is not of the commit."""
    said = git(
        path, "status", "--porcelain=v2", "--branch", "--ignored", "--untracked-files=all"
    ).splitlines()
    heads = dict(line.removeprefix("# ").split(" ", 1) for line in said if line.startswith("# branch."))
    dirt = "\n".join(line for line in said if not line.startswith("#"))
    return heads["branch.head"], heads["branch.oid"], dirt


@dataclass
class Tenant:
    process: "subprocess.Popen[str]"
    stdin: IO[str]
    stdout: IO[str]

    def line(self) -> str:
        return self.stdout.readline().strip()

    def paths(self) -> list[Path]:
        return [Path(p) for p in json.loads(self.line())]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)


@contextmanager
def tenants(
    repo: Path, state: Path, what: str, *, processes: int = 1, slots: int = 1
) -> Iterator[list[Tenant]]:
    """Other processes that take slots; they end with the block at the latest."""
    command = [sys.executable, "-m", "tests.slots.tenant", str(repo), str(state), what, str(slots)]
    started = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        yield [Tenant(p, p.stdin, p.stdout) for p in started if p.stdin and p.stdout]
    finally:
        for process in started:
            process.kill()
            process.communicate()
