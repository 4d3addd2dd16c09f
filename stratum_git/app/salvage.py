"""What attempts left behind, and how to have it back: on a branch, or byte for byte in a folder.

It reads the flow's history, the refs of its attempts and the folders beside their logs, and changes nothing
there. Files come back as the agent left them, without filters or line ends in between: where git keeps a file
in another form, the file itself was kept too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.reading import step_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.core import codec
from stratum_git.core.questions import in_flight
from stratum_git.dispatch.keeping import IGNORED, LEFT, RAW, former_folders
from stratum_git.errors import UserError
from stratum_git.git.commits import commits_of
from stratum_git.git.history import LogEntry, flow_log
from stratum_git.git.objects import read_objects, read_tree
from stratum_git.git.refs import LostRace, RefUpdate, read_refs, transact
from stratum_git.git.repository import Repository, valid_branch
from stratum_git.git.writing_out import write_out
from stratum_git.model.ids import OWN, FlowId, Json, Oid, RefName
from stratum_git.model.messages import Completed, Gathered, Halted, Lost, Rejected
from stratum_git.model.state import FlowState
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupant, Occupied, read_record, try_lock
from stratum_git.store.flows import load
from stratum_git.store.listing import flow_ref

NAMED = re.compile(r"(\d+)(-rest)?(?:-[0-9a-f]{12})?")
"""How the refs of attempts end: the number, what was there besides the files, what had that name before."""
SHOWN = 1000
"""Paths of one kind that a listing names; the rest is counted."""


class NothingLeftError(UserError):
    """There is nothing to have back."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What an attempt left besides its files."""

    ref: RefName
    commit: Oid
    staged: tuple[str, ...]
    unmerged: tuple[str, ...]
    notes: tuple[str, ...]
    parent: Oid
    commits: tuple[Oid, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt left. ``commit`` has its files; ``at`` is when that was told, if it ever was."""

    number: int
    outcome: str | None
    at: int | None
    commit: Oid | None
    refs: tuple[RefName, ...] = ()
    rests: tuple[Rest, ...] = ()

    @property
    def files(self) -> Oid | None:
        """Returns the commit with its files, which are those it began with when it changed none."""
        return self.commit or (self.rests[0].parent if self.rests else None)


@dataclass(frozen=True, slots=True)
class AtWork:
    """An attempt whose work still lies in its slot; ``is_live`` says that somebody is at it."""

    attempt: int
    path: Path
    is_live: bool


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything that the attempts at a task, or at a step that one agent did, have left."""

    repo: Repository
    folders: StateFolders
    flow: FlowId
    step: str
    task: str | None
    attempts: tuple[Attempt, ...]
    at_work: tuple[AtWork, ...] = field(default=())

    def folder(self, number: int) -> Path:
        """Returns the folder beside the log of an attempt."""
        return self.folders.attempt_path(self.flow, self.step, self.task, number)

    def chosen(self, number: int | None) -> Attempt:
        """Returns the attempt with a number, or the last one; raises NothingLeftError."""
        for attempt in reversed(self.attempts):
            if number in {None, attempt.number} and self._has_something(attempt):
                return attempt
        name = self.task or self.step
        for busy in self.at_work:
            what = (
                f"attempt {busy.attempt} of {name} is at work in {busy.path}"
                if busy.is_live
                else (f"the work of attempt {busy.attempt} of {name} still lies in {busy.path}")
            )
            hint = f"`stratum-git {'cancel' if busy.is_live else 'resume'} {self.flow}` puts it on a ref"
            raise NothingLeftError(what, hint=hint)
        known = ", ".join(str(attempt.number) for attempt in self.attempts) or "none"
        raise NothingLeftError(f"{name} has left nothing that could be had back", hint=f"attempts: {known}")

    def _has_something(self, attempt: Attempt) -> bool:
        return (
            attempt.commit is not None or bool(attempt.rests) or (self.folder(attempt.number) / LEFT).exists()
        )


@dataclass(frozen=True, slots=True)
class Restored:
    """What was had back: where it is, and of it how many files."""

    attempt: int
    commit: Oid | None
    branch: RefName | None = None
    into: Path | None = None
    files: int = 0

    def row(self) -> dict[str, Json]:
        """Returns it as JSON."""
        into = None if self.into is None else str(self.into)
        row: dict[str, Json] = {"attempt": self.attempt, "commit": self.commit, "branch": self.branch}
        return {**row, "into": into, "files": self.files}


def survey(around: Surroundings, flow: FlowId, task: str) -> Estate:
    """Returns what a task, or a step that one agent did, has left; raises UnknownTaskError."""
    repo = around.repository()
    state = load(repo, flow)[0].state
    step = step_of(state, task)
    name = None if step == task else task
    folders = folders_of(around, repo, read_config(repo.root))
    prefix = f"refs/stratum/attempts/{flow}/{step}/{OWN if name is None else name}/"
    refs = {ref: oid for ref, oid in read_refs(repo, prefix).items() if NAMED.fullmatch(_end(ref))}
    attempts = _with_refs(repo, list(_told(repo, flow, step, name)), refs)
    busy = tuple(_at_work(folders, state, step, name))
    return Estate(repo, folders, flow, step, name, attempts, busy)


def to_branch(estate: Estate, name: str, number: int | None, *, staged: bool) -> Restored:
    """Makes a branch at what an attempt left; one that exists is not touched."""
    found = estate.chosen(number)
    commit = _rest_of(found).commit if staged else found.commit
    ref = valid_branch(estate.repo, name)
    if commit is None:
        raise NothingLeftError(f"attempt {found.number} has no commit", hint="`--into DIR` has what it left")
    update = [RefUpdate(ref, commit, None)]
    if isinstance(transact(estate.repo, update, message="stratum-git: salvage", durable=True), LostRace):
        raise UserError(f"there is a branch {name} already", hint="name another one")
    return Restored(found.number, commit, branch=ref)


def to_folder(estate: Estate, folder: Path, number: int | None, *, staged: bool) -> Restored:
    """Writes what an attempt left into a folder that is new or empty, byte for byte."""
    found = estate.chosen(number)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty", hint="name a folder that is new or empty")
    if staged:
        rest = _rest_of(found)
        return Restored(
            found.number, rest.commit, into=folder, files=write_out(estate.repo, rest.commit, folder)
        )
    own = estate.folder(found.number)
    files = write_out(estate.repo, found.files, folder, [own / RAW, *sorted(own.glob(f"{LEFT}*"))])
    return Restored(found.number, found.commit, into=folder, files=files)


def listing(estate: Estate, number: int | None = None) -> dict[str, Json]:
    """Returns what there is as JSON: of one attempt, or of all."""
    wanted = [attempt for attempt in estate.attempts if number in {None, attempt.number}]
    if number is not None and not wanted:
        estate.chosen(number)
    return {
        "flow_id": estate.flow,
        "step_id": estate.step,
        "task_id": estate.task,
        "attempts": [_row(estate, attempt) for attempt in wanted],
        "at_work": [
            {"attempt": one.attempt, "path": str(one.path), "is_live": one.is_live} for one in estate.at_work
        ],
    }


def _row(estate: Estate, attempt: Attempt) -> Json:
    folder = estate.folder(attempt.number)
    tree = read_tree(estate.repo, attempt.commit) if attempt.commit is not None else {}
    left = _files_below(folder / LEFT)
    return {
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "at": attempt.at,
        "commit": attempt.commit,
        "refs": [*attempt.refs],
        "files": len(tree),
        "folders": [str(path) for path in (folder, *former_folders(folder)) if path.is_dir()],
        "left": cast("list[Json]", left[:SHOWN]),
        "raw": cast("list[Json]", _files_below(folder / RAW)[:SHOWN]),
        "ignored": _ignored(folder),
        "rests": [
            {
                "ref": rest.ref,
                "commit": rest.commit,
                "staged": [*rest.staged[:SHOWN]],
                "unmerged": [*rest.unmerged[:SHOWN]],
                "notes": [*rest.notes[:SHOWN]],
                "commits": [*rest.commits],
            }
            for rest in attempt.rests
        ],
    }


def _told(repo: Repository, flow: FlowId, step: str, task: str | None) -> Iterator[Attempt]:
    """Yields the attempts that the history of the flow tells of, oldest first."""
    for entry in flow_log(repo, flow_ref(flow)):
        words = entry.trailers
        if words.get("Stratum-Step") != step:
            continue
        if words["Stratum-Event"] == "Gathered" and task is not None:
            yield from _gathered(repo, entry, task)
        elif "Stratum-Outcome" in words and words.get("Stratum-Task") == task:
            result = words.get("Stratum-Result")
            commit = None if result is None else Oid(result)
            yield Attempt(int(words["Stratum-Attempt"]), words["Stratum-Outcome"].lower(), entry.at, commit)


def _gathered(repo: Repository, entry: LogEntry, task: str) -> Iterator[Attempt]:
    found = read_objects(repo, [f"{entry.oid}:state.json"])[0]
    row = codec.load(b"null" if found is None else found.data)
    event = codec.decode_any(row.get("event")) if isinstance(row, dict) else None
    for report in event.reports if isinstance(event, Gathered) else ():
        if report.task == task and isinstance(report.outcome, Completed | Rejected | Lost | Halted):
            word = type(report.outcome).__name__.lower()
            yield Attempt(report.attempt, word, entry.at, report.outcome.result)


def _with_refs(repo: Repository, told: list[Attempt], refs: Mapping[RefName, Oid]) -> tuple[Attempt, ...]:
    """Returns the attempts with their refs; what has a ref and was never told is one more."""
    plain = {ref: oid for ref, oid in refs.items() if not _is_rest(ref)}
    known = {(attempt.number, attempt.commit) for attempt in told}
    for ref, oid in plain.items():
        if (_number(ref), oid) not in known:
            told.append(Attempt(_number(ref), None, None, oid))
    found = [
        replace(
            one, refs=tuple(r for r, oid in plain.items() if (_number(r), oid) == (one.number, one.commit))
        )
        for one in told
    ]
    for ref, oid in refs.items():
        if _is_rest(ref):
            _attach(found, _number(ref), _rest(repo, ref, oid))
    return tuple(sorted(found, key=lambda one: (one.at is None, one.at or 0, one.number)))


def _attach(attempts: list[Attempt], number: int, rest: Rest) -> None:
    """Adds a rest to the last attempt of its number, or makes one up that has nothing else."""
    for place in reversed(range(len(attempts))):
        if attempts[place].number == number:
            attempts[place] = replace(attempts[place], rests=(*attempts[place].rests, rest))
            return
    attempts.append(Attempt(number, None, None, None, rests=(rest,)))


def _rest(repo: Repository, ref: RefName, oid: Oid) -> Rest:
    paths = list(read_tree(repo, oid))

    def below(top: str) -> tuple[str, ...]:
        return tuple(path.removeprefix(top) for path in paths if path.startswith(top))

    parents = commits_of(repo, [oid])[oid].parents
    return Rest(ref, oid, below("staged/"), below("unmerged/"), below("git/"), parents[0], parents[1:])


def _rest_of(attempt: Attempt) -> Rest:
    if not attempt.rests:
        what = f"attempt {attempt.number} has nothing besides its files"
        raise NothingLeftError(what, hint="leave --staged out")
    return attempt.rests[0]


def _at_work(folders: StateFolders, state: FlowState, step: str, task: str | None) -> Iterator[AtWork]:
    flow, client = state.flow, state.driver == "client"
    live = {attempt for at, name, attempt in in_flight(state) if (at, name) == (step, task)}
    for path in sorted(folders.slots.glob("*.json")) if (folders.root / "slots").is_dir() else ():
        slot = path.with_suffix("")
        record = read_record(slot)
        who = record.occupant if isinstance(record, Occupied) else None
        if isinstance(record, Occupied) and who == Occupant(flow, step, task, record.occupant.attempt):
            lock = try_lock(slot)
            if lock is not None:
                lock.release()
            number = record.occupant.attempt
            yield AtWork(number, slot, is_live=lock is None or (client and number in live))


def _files_below(folder: Path) -> list[str]:
    found = []
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [os.path.relpath(Path(root) / name, folder) for name in (*names, *links)]
    return sorted(found)


def _ignored(folder: Path) -> Json:
    try:
        row: Json = json.loads((folder / IGNORED).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {"total": 0, "listed": []}
    return row


def _end(ref: str) -> str:
    return ref.rpartition("/")[2]


def _number(ref: str) -> int:
    return int(_end(ref).partition("-")[0])


def _is_rest(ref: str) -> bool:
    return "-rest" in _end(ref)
