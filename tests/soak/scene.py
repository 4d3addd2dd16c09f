"""One flow with everything in it that can go wrong by itself, and what must be true whatever was killed.

Six tasks that depend on each other, of which one fails at first and two conflict; a gate; a step after it.
Agents leave drafts and commits and processes in the background, and tell a story of what they do; the
invariants compare that story with what the repository has in the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.git.repository import open_repository
from stratum_git.model.ids import FlowId
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Vacant, read_record
from stratum_git.store.flows import load
from tests.support.launcher import Ended, Launcher, Started
from tests.support.repos import ScratchRepo

SPEC = """\
version: "0.4"
functions:
  review: {mode: gate}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 3
        require: 5
        on_quorum: keep
        task_retries: 2
        verify: test -e a.txt
        land_verify: test -e a.txt
      - {id: ask, function: review, depends_on: [build], on_approve: finish, on_revise: build, on_kill: null}
      - {id: finish, agent: default, intent: Finish it, depends_on: [ask], retries: 3}
"""
TASKS = [
    {"id": "one"},
    {"id": "two", "depends_on": ["one"]},
    {"id": "shaky"},
    {"id": "left"},
    {"id": "right"},
    {"id": "both", "depends_on": ["two", "shaky"]},
]
# What an agent says that it did is true by then. Its lock is held by whatever it started, too.
AGENT = """\
#!/bin/sh
unset SOAK_CALLS
task=${STRATUM_TASK:-$STRATUM_STEP}
tell() { echo "$@" >> "$SOAK_STORY/story"; }
exec 9>"$SOAK_STORY/$task.held"
flock -n 9 || tell overlap "$task" "$STRATUM_ATTEMPT"
tell start "$task" "$STRATUM_ATTEMPT" $$
read -r draft < /proc/sys/kernel/random/uuid
echo "$draft" > draft.txt && tell draft "$draft"
sleep 300 &
setsid sleep 300 &
case $task in
left) trap '' TERM ;;
esac
sleep "$SOAK_PACE"
case $task in
one)
  echo "$draft" > kept.txt && git add kept.txt && git commit -qm "by the agent"
  tell commit "$(git rev-parse HEAD)"
  git rm -q --cached kept.txt && mv kept.txt draft.txt && echo one > one.txt ;;
shaky)
  if [ ! -e "$SOAK_STORY/failed" ]; then
    echo half > shaky.txt
    : > "$SOAK_STORY/failed"
    exit 1
  fi
  echo whole > shaky.txt ;;
left | right) echo "$task" > shared.txt ;;
*) echo "$task" > "$task.txt" ;;
esac
tell clean "$draft"
rm draft.txt
tell end "$task" "$STRATUM_ATTEMPT" $$
"""
OVER = frozenset({"complete", "failed", "cancelled", "killed"})
WORKED = frozenset({0, 1})
Kind: TypeAlias = Literal[
    "lost", "landed_twice", "at_once", "orphans", "left_over", "other_end", "fsck_failures", "failed"
]
ROUNDS = 12
"""Commands after which a flow has to be at its end: three do it, and each kill costs one or two."""


@dataclass
class Scene:
    """A user's repository with a flow in it, wholly below one folder."""

    folder: Path
    launcher: Launcher
    pace: str
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    started: list[Started] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    """Where the flow was seen to be, in order: none of it may be forgotten."""

    @property
    def repo(self) -> ScratchRepo:
        return ScratchRepo(self.folder / "repo")

    @property
    def state(self) -> Path:
        """The folder of the repository's slots, locks and attempts."""
        (found,) = (self.folder / "user/state/stratum-git").iterdir()
        return found

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "XDG_STATE_HOME": str(self.folder / "user/state"),
            "TMPDIR": str(self.folder / "tmp"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "SOAK_STORY": str(self.folder / "story"),
            "SOAK_PACE": self.pace,
            "SOAK_MARK": self.mark,
        }

    def story(self) -> list[list[str]]:
        """Returns what the agents told, line by line."""
        path = self.folder / "story/story"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def tell(self, *words: str) -> None:
        """Adds a line to the story."""
        with (self.folder / "story/story").open("a") as file:
            file.write(" ".join(words) + "\n")

    def start(self, *words: str, env: Mapping[str, str] | None = None, pipes: bool = False) -> Started:
        """Starts the program."""
        place = self.folder / "runs" / f"{len(self.started):03}"
        found = self.launcher.start(
            list(words),
            cwd=self.repo.path,
            env={**self.environment, **(env or {})},
            place=place,
            pipes=pipes,
        )
        self.started.append(found)
        return found

    def flow(self) -> FlowId | None:
        """Returns the flow, if it has begun."""
        rows = self.repo.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/stratum/flows").split()
        assert len(rows) <= 1, rows
        return FlowId(rows[0]) if rows else None

    def look(self) -> FlowState | None:
        """Returns where the flow is, and notes it."""
        flow = self.flow()
        if flow is None:
            return None
        stored, _ = load(open_repository(self.repo.path), flow)
        self.tips.append(stored.tip)
        return stored.state

    def verb(self, state: FlowState | None) -> list[str]:
        """Returns the command that brings the flow further, as its user would give it."""
        agent = f"--agent=default={self.folder / 'agent'}"
        if state is None:
            tasks = f"--input=tasks=@{self.folder / 'tasks.json'}"
            return ["run", str(self.folder / "spec.yaml"), tasks, agent, "--quiet"]
        if state.status == "awaiting_gate":
            return ["gate", "approve", state.flow, "ask"]
        return ["resume", state.flow, agent, "--quiet"]


def make_template(folder: Path) -> Path:
    """Makes what every scene begins with; scenes are copies of it."""
    for name in ("user", "story", "tmp", "runs"):
        (folder / name).mkdir(parents=True)
    config = "[user]\n\tname = Tess Ter\n\temail = tess@example.invalid\n[init]\n\tdefaultBranch = main\n"
    (folder / "user/.gitconfig").write_text(config)
    repo = ScratchRepo.make(folder / "repo")
    for key, value in (("name", "Tess Ter"), ("email", "tess@example.invalid")):
        repo.git("config", f"user.{key}", value)
    repo.commit("first", {"a.txt": "a\n", "dir/b.txt": "b\n"})
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "tasks.json").write_text(json.dumps(TASKS))
    (folder / "agent").write_text(AGENT)
    (folder / "agent").chmod(0o755)
    return folder


def stage(template: Path, folder: Path, launcher: Launcher, pace: str = "0.03") -> Scene:
    """Returns a fresh scene; *pace* is how many seconds an agent thinks."""
    shutil.copytree(template, folder)
    return Scene(folder, launcher, pace)


@dataclass(frozen=True)
class Played:
    """How the flow was brought to its end: the commands' ends, and how many of them were killed."""

    ends: tuple[Ended, ...]

    @property
    def kills(self) -> int:
        return sum(end.code == -9 for end in self.ends)


def play(scene: Scene, traps: tuple[Mapping[str, str], ...] = ()) -> Played:
    """Brings the flow to its end as a user would: each trap is set until a command was killed by it."""
    ends: list[Ended] = []
    armed = 0
    for _ in range(ROUNDS):
        state = scene.look()
        if state is not None and state.status in OVER:
            break
        trap = traps[armed] if armed < len(traps) else {}
        ends.append(scene.start(*scene.verb(state), env=trap).wait())
        armed += ends[-1].code == -9
    if any(end.code == -9 for end in ends) and (state := scene.look()) is not None:
        # Whoever meets a flow after a kill resumes it, also one that has come to its end.
        ends.append(scene.start(*scene.verb(state)).wait())
    return Played(tuple(ends))


@dataclass(frozen=True)
class Result:
    """What a flow came to: the same, whatever was killed."""

    status: str | None
    tree: str
    landed: tuple[str, ...]
    parked: tuple[str, ...]
    tasks: tuple[str, ...]


def result_of(scene: Scene) -> Result:
    """Returns what the flow of a scene has come to."""
    repo, state = scene.repo, scene.look()
    body = repo.git(
        "log", "--reverse", "--format=%(trailers:key=Stratum-Step,key=Stratum-Task,valueonly)%x00", "main"
    )
    landed = sorted("/".join(row.split()) for row in body.split("\0") if row.strip())
    refs = repo.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/stratum/conflicts").split()
    return Result(
        None if state is None else state.status,
        repo.git("rev-parse", "main^{tree}"),
        tuple(landed),
        tuple(refs),
        () if state is None else tuple(type(step).__name__ for step in state.steps),
    )


@dataclass(frozen=True)
class Fault:
    """Something that is not as it has to be; ``kind`` is what it counts as."""

    kind: Kind
    words: str


def faults(scene: Scene, played: Played, reference: Result) -> list[Fault]:
    """Returns everything that is not as it has to be."""
    found = [
        Fault("failed", f"a command ended with {end.code}: {end.err.strip()[-600:]}{end.out.strip()[-300:]}")
        for end in played.ends
        if end.code not in {*WORKED, -9} and "nothing to resume" not in end.err
    ]
    result = result_of(scene)
    if result != reference:
        found.append(Fault("other_end", f"{result}, not {reference}"))
    if len(set(result.landed)) != len(result.landed):
        found.append(Fault("landed_twice", " ".join(result.landed)))
    return [*found, *_of_the_repository(scene), *_of_the_story(scene), *_left_over(scene)]


def _of_the_repository(scene: Scene) -> Iterator[Fault]:
    repo = scene.repo
    words = ("git", "fsck", "--full", "--strict", "--no-dangling", "--no-progress")
    checked = subprocess.run(words, cwd=repo.path, capture_output=True, text=True, check=False)
    if checked.returncode or checked.stdout or checked.stderr:
        yield Fault("fsck_failures", f"{checked.returncode}: {checked.stdout}{checked.stderr}")
    if leases := repo.git("for-each-ref", "refs/stratum/leases"):
        yield Fault("left_over", f"a lease: {leases}")
    if (dirt := repo.git("status", "--porcelain", "-b", "--ignored")) != "## main":
        yield Fault("left_over", f"the checkout is not as it was: {dirt}")
    for tip in dict.fromkeys(scene.tips):
        if repo.git("merge-base", tip, f"refs/stratum/flows/{scene.flow()}", check=False) != tip:
            yield Fault("lost", f"the event {tip} is not in the flow's history any more")


def _of_the_story(scene: Scene) -> Iterator[Fault]:
    story = scene.story()
    yield from (Fault("at_once", " ".join(row)) for row in story if row[0] == "overlap")
    cleaned = {row[1] for row in story if row[0] == "clean"}
    wanted = {blob_of(row[1]): row for row in story if row[0] == "draft" and row[1] not in cleaned}
    wanted |= {row[1]: row for row in story if row[0] == "commit" and len(row) > 1}
    rows = scene.repo.git("rev-list", "--objects", "--all").splitlines()
    known = {row.partition(" ")[0] for row in rows}
    yield from (Fault("lost", " ".join(row)) for oid, row in wanted.items() if oid not in known)


def blob_of(draft: str) -> str:
    """Returns the object id of a file with one line."""
    data = f"{draft}\n".encode()
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


def _left_over(scene: Scene) -> Iterator[Fault]:
    common, state = scene.repo.path / ".git", scene.state
    for folder, what in (
        (common.rglob("*.lock"), "a lock of git"),
        ((state / "trash").glob("*"), "in the trash"),
        ((scene.folder / "tmp").iterdir(), "a temporary file"),
    ):
        yield from (Fault("left_over", f"{what}: {path}") for path in folder)
    yield from (Fault("orphans", line) for line in processes(scene))
    yield from _slots_left(scene)


def _slots_left(scene: Scene) -> Iterator[Fault]:
    folder = scene.state / "slots"
    names = {path.name.partition(".")[0] for path in folder.glob("*")}
    for name in sorted(names):
        record = read_record(folder / name)
        if not isinstance(record, Vacant) or not record.ready or not (folder / name).is_dir():
            beside = sorted(path.name for path in folder.glob(f"{name}*"))
            yield Fault("left_over", f"the slot {name} is {record}, and there is {beside}")
    rows = scene.repo.git("worktree", "list", "--porcelain").splitlines()
    listed = {Path(row.partition(" ")[2]).name for row in rows if row.startswith("worktree ")}
    if listed != {"repo", *names}:
        yield Fault("left_over", f"worktrees are {sorted(listed)}, slots are {sorted(names)}")


def processes(scene: Scene) -> list[str]:
    """Returns what is alive of a scene: what was started, and whatever has its mark."""
    mark = f"SOAK_MARK={scene.mark}".encode()
    own = {started.pid for started in scene.started}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            is_ours = int(folder.name) in own or mark in (folder / "environ").read_bytes().split(b"\0")
            stat = (folder / "stat").read_text() if is_ours else ""
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if stat and stat.rpartition(")")[2].split()[0] not in "ZX":
            found.append(f"{folder.name} {words[:200]}")
    return found
