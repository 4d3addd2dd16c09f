"""How a flow's state lies in the tree of its commits: which file holds what.

::

    spec.yaml                     the text of the spec, as it was given
    state.json                    the flow: what happened last, where it is, what it remembers, the states of
                                  the steps around the current one, and the newest records
    inputs.json
    session.json                  the turns of one that is a session; reviews.json: what was found of its work
    states-0000.json              the states of steps 0 to 31, in the order in which they run
    records-0000.json             the audit, records 0 to 31; round-000.json that of a round that ended
    passes-<step>-0000.json       the loops of a step; past.json those of rounds that ended
    outputs-0000.json             what steps 0 to 31 produced, where it is short
    outputs/0000/<step>.json      what one of them produced, where it is long
    steps/<step>/graph.json       the task graph of a dispatch step
    steps/<step>/tasks-0000.json  the states of its tasks 0 to 31
    steps/<step>/tasks-00/...     where there are more than 1,024: those of tasks 0 to 1,023
    checkpoints/000/...           the same again, for a state that was given a name

A piece names its file and the object it is made from, a folder the object that it stands for. The same
object means the same bytes, so the store encodes and writes only what an event changed, however large the
flow. It is as flat as it is, and what changes with every event lies together, because each file and each
level is one more object to make and to flush: an event of a step makes four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from stratum_git.core import codec
from stratum_git.core.questions import fan_of
from stratum_git.core.sessions import in_short as short_session
from stratum_git.model.book import Book
from stratum_git.model.changing import replace
from stratum_git.model.chunks import SIZE, Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, StepId
from stratum_git.model.indices import Indices
from stratum_git.model.messages import Event
from stratum_git.model.spec import Gate
from stratum_git.model.state import (
    Abandoned,
    AtGate,
    Checkpoint,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Output,
    StepState,
    Succeeded,
)
from stratum_git.model.values import dataclass

T = TypeVar("T")

NO_GRAPH = TaskGraph((), (), (), ())
VERSION = 2
"""Version 1 had all states in ``state.json``, outputs in ``steps/<step>/output.json``, an ``event.json``."""
SHORT = 2000
"""Characters, about, of an output that shares a file with others."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file: its path, the object that it is made from, and how."""

    path: str
    token: object
    encode: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pieces, and of folders, that is unchanged as long as ``token`` is the same object.

    Or is made of the same objects, where it is a tuple. The paths of its pieces are below itself.
    """

    path: str
    token: object
    pieces: Callable[[], Iterator[Piece | Folder]]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What some steps produced: a file of the short ones, a folder of the long ones, if there are any.

    Both are unchanged as long as ``token`` is the same object.
    """

    token: object
    short: Callable[[], Piece | None]
    long: Callable[[], Folder | None]


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the folders below ``steps``, unchanged as long as ``token`` is the same object."""

    token: object
    folders: Callable[[], Iterator[Folder]]


def files(state: FlowState, event: Event | None = None) -> Iterator[Piece]:
    """Yields the files at the top of the tree after *event*, ``spec.yaml`` excepted."""
    book = state.book
    yield Piece("state.json", state, lambda: codec.dump(header(state, event)))
    yield Piece("inputs.json", state.inputs, lambda: codec.dump(dict(state.inputs)))
    for number, steps in enumerate(state.steps.parts):
        if number != _near(state):
            yield Piece(f"states-{number:04}.json", steps, partial(_rows, _short, steps))
    for number, records in enumerate(book.records.parts):
        if len(records) == SIZE:
            yield Piece(f"records-{number:04}.json", records, partial(_rows, codec.encode, records))
    for number, round_ in enumerate(book.rounds):
        yield Piece(f"round-{number:03}.json", round_, partial(_encoded, round_))
    for step, passes in book.passes.items():
        yield from _chunked(f"passes-{step}", passes)
    if book.past:
        yield Piece("past.json", book.past, partial(_encoded, book.past))
    if book.audits:
        yield Piece("audits.json", book.audits, partial(_encoded, book.audits))
    if book.session is not None:
        yield Piece("session.json", book.session, partial(_encoded, book.session))
    if book.reviews:
        yield Piece("reviews.json", book.reviews, partial(_encoded, book.reviews))


def groups(state: FlowState) -> Iterator[Group]:
    """Yields the folders below ``steps``, of the steps that have tasks."""
    for number, part in enumerate(state.steps.parts):
        names = state.program.order[number * SIZE : (number + 1) * SIZE]
        yield Group(part, partial(_task_folders, names, part))


def outputs(state: FlowState) -> Iterator[Outputs]:
    """Yields what the steps produced, 32 of them at a time."""
    for number, made in enumerate(state.outputs.parts):
        names = state.program.order[number * SIZE : (number + 1) * SIZE]
        short, long = (
            partial(_short_outputs, number, names, made),
            partial(_long_outputs, number, names, made),
        )
        yield Outputs(made, short, long)


def label(checkpoint: Checkpoint) -> Piece:
    """Returns the file that says how a checkpoint is called."""
    row: Json = {"label": checkpoint.label, "code": checkpoint.code}
    return Piece("checkpoint.json", checkpoint, partial(codec.dump, row))


def header(state: FlowState, event: Event | None) -> dict[str, Json]:
    """Returns the flow in short, as ``state.json`` has it."""
    near, records = _near(state), state.book.records.parts
    states: Json = [] if near is None else [_short(now) for now in state.steps.parts[near]]
    newest = records[-1] if records and len(records[-1]) < SIZE else ()
    position = len(state.steps) if state.cursor is None else state.program.position[state.cursor]
    return {
        "version": VERSION,
        "flow": state.flow,
        "name": state.program.flow.name,
        "status": state.status,
        "cursor": state.cursor,
        "position": position,
        "seq": state.seq,
        "base": state.base,
        "target": state.target,
        "started": state.started,
        "updated": state.updated,
        "cancelling": state.cancelling,
        "paused": state.paused,
        "unsynced": [codec.encode(s) for s in state.unsynced],
        "steps": len(state.steps),
        "event": None if event is None else codec.encode(event),
        "near": near,
        "states": states,
        "records": [codec.encode(record) for record in newest],
        "tasks": _tallies(state),
        "driver": state.driver,
        "parent": state.parent,
        "parent_step": state.parent_step,
        "setback": None if state.setback is None else codec.encode(state.setback),
        "undone": [codec.encode(one) for one in state.undone],
        "spent": codec.encode(state.spent),
        "book": codec.encode(bare_book(state.book)),
        "gate": _gate(state),
        "session": None if state.book.session is None else short_session(state.book.session),
    }


def bare_book(book: Book) -> Book:
    """Returns what is remembered, without what lies in files of its own."""
    return replace(book, records=Chunks(), rounds=(), passes={}, past=(), audits={}, session=None, reviews=())


def _near(state: FlowState) -> int | None:
    """Returns the number of the part of the steps that lies in ``state.json``: the flow is in it."""
    if len(state.steps.parts) == 1:
        return 0
    return None if state.cursor is None else state.program.position[state.cursor] // SIZE


def _is_short(output: Output) -> bool:
    """Returns whether there is an output, and it is short. Of a long one no more is looked at than that."""
    left = SHORT
    todo: list[Json] = list(output)
    while todo and left > 0:
        value = todo.pop()
        left -= 8 + (len(value) if isinstance(value, str) else 0)
        if isinstance(value, dict):
            left -= sum(map(len, value)) if len(value) < SHORT else SHORT
            todo += value.values() if left > 0 else ()
        elif isinstance(value, list):
            todo += value if len(value) < SHORT else ()
            left -= len(value)
    return bool(output) and left > 0


def _short_outputs(number: int, names: tuple[StepId, ...], made: tuple[Output, ...]) -> Piece | None:
    rows = zip(names, made, strict=True)
    found: dict[str, Json] = {step: output[0] for step, output in rows if _is_short(output)}
    return Piece(f"outputs-{number:04}.json", made, partial(codec.dump, found)) if found else None


def _long_outputs(number: int, names: tuple[StepId, ...], made: tuple[Output, ...]) -> Folder | None:
    pieces = tuple(_output_pieces(names, made))
    return Folder(f"{number:04}", made, partial(iter, pieces)) if pieces else None


def _short(now: StepState) -> Json:
    return codec.encode(_bare(now))


def _chunked(name: str, items: Chunks[T], encode: Callable[[T], Json] = codec.encode) -> Iterator[Piece]:
    return _numbered(name, items.parts, 0, encode)


def _numbered(
    name: str, parts: tuple[tuple[T, ...], ...], first: int, encode: Callable[[T], Json] = codec.encode
) -> Iterator[Piece]:
    for number, part in enumerate(parts, first):
        yield Piece(f"{name}-{number:04}.json", part, partial(_rows, encode, part))


def _rows(encode: Callable[[T], Json], part: tuple[T, ...]) -> bytes:
    return codec.dump_all(part, encode)


def _encoded(value: object) -> bytes:
    return codec.dump(codec.encode(value))


def _task_folders(names: tuple[StepId, ...], part: tuple[StepState, ...]) -> Iterator[Folder]:
    for step, now in zip(names, part, strict=True):
        fan = fan_of(now)
        if fan is not None:
            yield Folder(step, now, partial(_task_pieces, fan))


def _task_pieces(fan: FannedOut) -> Iterator[Piece | Folder]:
    yield Piece("graph.json", fan.graph, partial(_encoded, fan.graph))
    parts = fan.tasks.parts
    if len(parts) <= SIZE:
        yield from _chunked("tasks", fan.tasks)
        return
    # Each event writes the list of all these files again: in one folder it would grow with the tasks.
    for first in range(0, len(parts), SIZE):
        some = parts[first : first + SIZE]
        yield Folder(folder_of_tasks(first), some, partial(_numbered, "tasks", some, first))


def folder_of_tasks(number: int) -> str:
    """Returns the folder of file *number* of tasks, where there are too many of them for one."""
    return f"tasks-{number // SIZE:02}"


def _output_pieces(names: tuple[StepId, ...], part: tuple[Output, ...]) -> Iterator[Piece]:
    for step, output in zip(names, part, strict=True):
        if output and not _is_short(output):
            yield Piece(f"{step}.json", output, partial(codec.dump, output[0]))


def _bare(now: StepState) -> StepState:
    """Returns a step's state without what lies in files of its own."""
    match now:
        case FannedOut():
            return _bare_fan(now)
        case Landing(work=FannedOut() as fan):
            return replace(now, work=_bare_fan(fan))
        case Succeeded(work=FannedOut() as fan) | Failed(work=FannedOut() as fan):
            return replace(now, work=_bare_fan(fan))
        case Abandoned(work=FannedOut() as fan):
            return replace(now, work=_bare_fan(fan))
        case _:
            return now


def _bare_fan(fan: FannedOut) -> FannedOut:
    return replace(fan, graph=NO_GRAPH, tasks=Chunks(), ready=Indices())


def _gate(state: FlowState) -> Json:
    """Returns what is to be decided where the flow waits, so that listing gates needs no spec."""
    if state.cursor is None or not isinstance(state.step(state.cursor), AtGate):
        return None
    gate = state.program.steps[state.cursor].work
    if not isinstance(gate, Gate):
        return None
    return {
        "function": gate.function,
        "on_approve": gate.on_approve,
        "on_revise": gate.on_revise,
        "on_kill": gate.on_kill,
        "timeout": gate.timeout,
    }


def _tallies(state: FlowState) -> Json:
    fan = fan_of(state.step(state.cursor)) if state.cursor is not None else None
    if fan is None:
        return None
    total = fan.graph.size
    return {"total": total, "running": fan.running, "verified": fan.verified, "dead": fan.dead}
