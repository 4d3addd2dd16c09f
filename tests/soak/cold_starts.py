"""Cold starts: many processes at once make the first worktrees of a repository.

Four ways in: slots of a pool, whole runs in a terminal, the first claims of MCP servers, and git alone, for
comparison. In a fifth, somebody's own ``git worktree add`` goes on beside the pool. Each round has a fresh
repository and fresh folders; its processes are released by a gate.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import stratum_git.cli.running  # noqa: F401 - loaded once, before the forks
from stratum_git.cli.main import main as program
from stratum_git.git.repository import head_of, open_repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Json, Oid, RefName
from stratum_git.slots.folders import state_folders
from stratum_git.slots.mounts import detach
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.pool import SlotPool
from tests.support.crowd import Ended, share, together
from tests.support.mortal import mortals
from tests.support.portal import SettledShell
from tests.support.repos import ScratchRepo

FILES = {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n", "dir/sub/d.txt": "d\n"}
RAW = {
    "detach": ("--detach", "{path}", "HEAD"),
    "branch": ("-b", "{name}", "{path}", "HEAD"),
    "track": ("-b", "{name}", "{path}", "origin/main"),
}
SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: "do {task.id}",
         max_concurrent: 64}
"""


@dataclass
class Tally:
    """What was counted, of one way in."""

    seconds: list[float] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    rounds_failed: int = 0

    def add(self, ended: Sequence[Ended], wrong: Sequence[str]) -> None:
        """Takes in a round: how its processes ended, and what is wrong with what they made."""
        troubles = [one.trouble for one in ended if one.trouble] + list(wrong)
        self.starts += len(ended)
        self.seconds += [one.seconds for one in ended if not one.trouble]
        self.troubles.update(_last_line(trouble) for trouble in troubles)
        self.rounds_failed += bool(troubles)

    def row(self, name: str) -> dict[str, Json]:
        """Returns its figures."""
        return {
            f"{name}_starts": self.starts,
            f"{name}_failures": self.troubles.total(),
            f"{name}_rounds_failed": self.rounds_failed,
            f"{name}_p50_ms": share(self.seconds, 0.5),
            f"{name}_p95_ms": share(self.seconds, 0.95),
        }


def _last_line(trouble: str) -> str:
    return trouble.strip().splitlines()[-1][-600:]


@dataclass(frozen=True)
class Field:
    """A fresh repository, with a home beside it."""

    folder: Path

    @property
    def scratch(self) -> ScratchRepo:
        return ScratchRepo(self.folder / "repo")

    @property
    def shell(self) -> SettledShell:
        return SettledShell(self.folder / "home", self.scratch)


@contextmanager
def fields(folder: Path) -> Iterator[Iterator[Field]]:
    """Gives fresh repositories, one after another; each is gone when the next one comes."""
    model = folder / "model"
    (model / "home").mkdir(parents=True)
    scratch = ScratchRepo.make(model / "repo")
    scratch.git("config", "user.name", "Tess Ter")
    scratch.git("config", "user.email", "tess@example.invalid")
    # As a clone has it: what a worktree's branch may follow, which is written to the configuration.
    scratch.git("config", "remote.origin.url", "nowhere")
    scratch.git("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    scratch.commit("first", FILES)
    scratch.git("update-ref", "refs/remotes/origin/main", "HEAD")
    with closing(_copies(model, folder / "field")) as fresh:
        yield fresh


def _copies(model: Path, place: Path) -> Generator[Field]:
    while True:
        shutil.copytree(model, place)
        try:
            yield Field(place)
        finally:
            # Slots of clients that have gone are still mounted.
            detach(place)
            shutil.rmtree(place)


def pool_round(at: Field, ways: int, raw: int = 0) -> tuple[list[Ended], list[str]]:
    """Has *ways* processes take their first slot, while *raw* others add worktrees of their own.

    What git alone fails at counts here only where it tripped over a slot.
    """
    base = Oid(at.scratch.head())
    jobs = [partial(take, at, f"t{n}") for n in range(ways)]
    ended = together([*jobs, *(partial(add, at, n, "branch") for n in range(raw))])
    wrong = wrongs(at, [one.value for one in ended[:ways]], base, raw)
    return ended[:ways], wrong + [one.trouble for one in ended[ways:] if "/slot-" in one.trouble]


def raw_round(at: Field, ways: int, form: str) -> tuple[list[Ended], list[str]]:
    """Has *ways* processes add a worktree with git alone."""
    return together([partial(add, at, n, form) for n in range(ways)]), []


def run_round(at: Field, ways: int) -> tuple[list[Ended], list[str]]:
    """Has *ways* terminals run a flow of one task each."""
    spec = at.folder / "spec.yaml"
    spec.write_text(SPEC)
    ended = together([partial(run, at, spec, n) for n in range(ways)])
    wrong = [f"run {n} said {one.value}" for n, one in enumerate(ended) if one.value != [0, ""]]
    landed = {name for name in at.scratch.files("main") if name.startswith("made-")}
    if landed != {f"made-{n}.txt" for n in range(ways)}:
        wrong.append(f"landed: {sorted(landed)}")
    return ended, wrong + _remains(at)


def claim_round(at: Field, ways: int) -> tuple[list[Ended], list[str]]:
    """Has *ways* servers give their first worker a task, all at once."""
    base = Oid(at.scratch.head())
    tasks: list[Json] = [{"id": f"t{n}"} for n in range(ways)]
    with mortals(at.shell, at.folder) as servers:
        first = next(servers)
        first.ask("stratum_plan", spec=SPEC, flow="main", inputs={"tasks": tasks})
        first.answer()
        group = [first, *(next(servers) for _ in range(ways - 1))]
        begun = time.monotonic()
        for n, server in enumerate(group):
            server.ask("stratum_task_claim", worker=f"w{n}")
        answers = [server.answer()["result"]["structuredContent"] for server in group]
        taken = time.monotonic() - begun
        for server in group:
            server.kill()
    ended = [Ended(row.get("path"), "" if row.get("path") else str(row), taken) for row in answers]
    return ended, wrongs(at, [one.value for one in ended], base, 0)


def take(at: Field, task: str) -> Json:
    """Takes a slot as a run does, with a pool of its own."""
    repo = open_repository(at.scratch.path)
    pool = SlotPool(repo, state_folders(repo, at.folder / "state"))
    slot = pool.acquire(
        base=head_of(repo).oid,
        branch=RefName(f"refs/heads/stratum/flow/{task}"),
        occupant=Occupant("flow", "step", task, 1),
        isolation="worktree",
    )
    return str(slot.path)


def add(at: Field, number: int, form: str) -> Json:
    """Adds a worktree with git alone."""
    path = at.folder / f"raw-{number}"
    words = [word.format(path=path, name=f"raw-{number}") for word in RAW[form]]
    done = subprocess.run(
        ["git", "worktree", "add", "-q", *words],
        cwd=at.scratch.path,
        env=at.shell.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OSError(" ".join(done.stderr.split()).replace(str(at.folder), ""))
    return str(path)


def run(at: Field, spec: Path, number: int) -> Json:
    """Runs a flow of one task as a user does; returns the exit code, and what there was to complain of."""
    os.chdir(at.scratch.path)
    os.environ.clear()
    os.environ.update(at.shell.environment)
    log = os.open(at.folder / f"run-{number}.log", os.O_RDWR | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    tasks = at.folder / f"tasks-{number}.json"
    tasks.write_text(json.dumps([{"id": f"t{number}"}]))
    agent = f"default=sh -c 'echo x > made-{number}.txt'"
    code = program(["run", str(spec), f"--input=tasks=@{tasks}", "--agent", agent])
    said = (at.folder / f"run-{number}.log").read_text()
    return [code, said[-1000:] if code or "Traceback" in said else ""]


def wrongs(at: Field, given: Sequence[Json], base: Oid, raw: int) -> list[str]:
    """Returns what is wrong with slots that were given out, and with the repository."""
    slots = [Path(str(place)) for place in given if place is not None]
    found = [trouble for slot in slots for trouble in _wrong(at, slot, base)]
    if len(set(slots)) != len(slots):
        found.append("a slot was given out twice")
    heads = [(git_dir_of(slot) / "HEAD").read_text() for slot in slots]
    if len(set(heads)) != len(heads):
        found.append(f"a branch is in two slots: {heads}")
    entries = list((at.scratch.path / ".git/worktrees").iterdir())
    if raw == 0 and len(entries) != len(slots):
        found.append(f"{len(entries)} registrations for {len(slots)} slots")
    return found + _remains(at)


def _wrong(at: Field, slot: Path, base: Oid) -> Iterator[str]:
    entry = git_dir_of(slot)
    if Path((entry / "gitdir").read_text().strip()) != slot / ".git":
        yield f"{entry} is not the registration of {slot}"
    if not (entry / "locked").exists():
        yield f"{slot} is not locked"
    asked = ["git", "status", "--porcelain=v2", "--branch", "--ignored", "--untracked-files=all"]
    said = subprocess.run(
        asked, cwd=slot, env=at.shell.environment, capture_output=True, text=True, check=True
    )
    rows = [line for line in said.stdout.splitlines() if not line.startswith("# branch.upstream")]
    if rows[0] != f"# branch.oid {base}" or not rows[1].startswith("# branch.head stratum/"):
        yield f"{slot} is at {rows[:2]}"
    if rows[2:]:
        yield f"{slot} is not clean: {rows[2:]}"
    if any((slot / name).read_text() != text for name, text in FILES.items()):
        yield f"{slot} has other files"


def _remains(at: Field) -> list[str]:
    """Returns what should not have been left: locks, damage."""
    locks = [str(path) for path in (at.scratch.path / ".git").rglob("*.lock")]
    fsck = at.scratch.git("fsck", "--connectivity-only", "--no-dangling", "--no-progress", check=False)
    return [f"left: {locks}"] * bool(locks) + [f"fsck: {fsck}"] * bool(fsck)


def figures(count: int, ways: int) -> dict[str, Json]:
    """Runs *count* rounds of pools, as many of git alone, and fewer of the dear ones; returns the figures."""
    names = ("pool", "beside_git", "run", "claim", *(f"raw_{form}" for form in RAW))
    tallies = {name: Tally() for name in names}
    forms = list(RAW)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cold-") as folder, fields(Path(folder).resolve()) as fresh:
        for n in range(count):
            form = forms[n % len(forms)]
            tallies["pool"].add(*pool_round(next(fresh), ways))
            tallies[f"raw_{form}"].add(*raw_round(next(fresh), ways, form))
            if n % 5 == 0:
                tallies["beside_git"].add(*pool_round(next(fresh), ways, ways))
            if n % 25 == 0:
                tallies["run"].add(*run_round(next(fresh), ways))
                tallies["claim"].add(*claim_round(next(fresh), ways))
            _complain(tallies, "beside_git", "pool", "run", "claim")
            print(f"round {n + 1} of {count}: {_in_short(tallies)}", file=sys.stderr, flush=True)
    _complain(tallies, *tallies)
    rows = [tally.row(name) for name, tally in tallies.items()]
    seconds = round(time.monotonic() - begun, 1)
    return {"what": "cold starts", "rounds": count, "ways": ways, **_merged(rows), "seconds": seconds}


def _complain(tallies: dict[str, Tally], *names: str) -> None:
    for name in names:
        for trouble, times in tallies[name].troubles.most_common(3):
            print(f"{name}: {times} times: {trouble}", file=sys.stderr)


def _merged(rows: Sequence[dict[str, Json]]) -> dict[str, Json]:
    return {key: value for row in rows for key, value in row.items()}


def _in_short(tallies: dict[str, Tally]) -> str:
    return ", ".join(f"{name} {tally.troubles.total()}/{tally.starts}" for name, tally in tallies.items())


def main() -> int:
    """Runs the rounds and prints the figures; 0 when nothing of ours failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="rounds (default: 500)")
    parser.add_argument("--ways", type=int, default=16, help="processes at once (default: 16)")
    given = parser.parse_args()
    found = figures(given.count, given.ways)
    print(json.dumps(found))
    return int(any(found[f"{name}_failures"] for name in ("pool", "beside_git", "run", "claim")))


if __name__ == "__main__":
    sys.exit(main())
