"""How a flow's state lies in the tree of its commits: which file holds what.

::

    spec.yaml                     the text of the spec, as it was given
    event.json                    what happened last
    state.json                    the flow in short: status, where it is, what it remembers
    inputs.json
    states-0000.json              the states of steps 0 to 31, in the order in which they run;
                                  those of a flow that has no more are in state.json
    records-0000.json             the audit, records 0 to 31; round-000.json that of a round that ended
    passes-<step>-0000.json       the loops of a step; past.json those of rounds that ended
    outputs/0000/<step>.json      what steps 0 to 31 produced
    steps/<step>/graph.json       the task graph of a dispatch step
    steps/<step>/tasks-0000.json  the states of its tasks 0 to 31
    checkpoints/000/...           the same again, for a state that was given a name

A piece names its file and the object it is made from, a folder the object that it stands for. The same
object means the same bytes, so the store encodes and writes only what an event changed, however large the
flow. It is as flat as it is because every level is one more object to flush for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from stratum_git.core import codec
from stratum_git.core.questions import fan_of
from stratum_git.model.book import Book
from stratum_git.model.chunks import SIZE, Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, StepId
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

T = TypeVar("T")

NO_GRAPH = TaskGraph((), (), (), ())
VERSION = 2
"""Version 1 had the states of the steps in ``state.json``, outputs in ``steps/<step>/output.json``."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file: its path, the object that it is made from, and how."""

    path: str
    token: object
    encode: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pieces that is unchanged as long as ``token`` is the same object.

    The paths of its pieces are below itself.
    """

    path: str
    token: object
    pieces: Callable[[], Iterator[Piece]]


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the folders below ``steps``, unchanged as long as ``token`` is the same object."""

    token: object
    folders: Callable[[], Iterator[Folder]]


def files(state: FlowState) -> Iterator[Piece]:
    """Yields the files at the top of the tree, ``spec.yaml`` and ``event.json`` excepted."""
    book = state.book
    yield Piece("state.json", state, lambda: codec.dump(header(state)))
    yield Piece("inputs.json", state.inputs, lambda: codec.dump(dict(state.inputs)))
    if _is_long(state):
        yield from _chunked("states", state.steps, _short)
    yield from _chunked("records", book.records)
    for number, records in enumerate(book.rounds):
        yield Piece(f"round-{number:03}.json", records, partial(_encoded, records))
    for step, passes in book.passes.items():
        yield from _chunked(f"passes-{step}", passes)
    if book.past:
        yield Piece("past.json", book.past, partial(_encoded, book.past))
    if book.audits:
        yield Piece("audits.json", book.audits, partial(_encoded, book.audits))


def groups(state: FlowState) -> Iterator[Group]:
    """Yields the folders below ``steps``, of the steps that have tasks."""
    for number, part in enumerate(state.steps.parts):
        names = state.program.order[number * SIZE : (number + 1) * SIZE]
        yield Group(part, partial(_task_folders, names, part))


def outputs(state: FlowState) -> Iterator[Folder]:
    """Yields the folders below ``outputs``."""
    for number, part in enumerate(state.outputs.parts):
        if any(part):
            names = state.program.order[number * SIZE : (number + 1) * SIZE]
            yield Folder(f"{number:04}", part, partial(_output_pieces, names, part))


def label(checkpoint: Checkpoint) -> Piece:
    """Returns the file that says how a checkpoint is called."""
    row: Json = {"label": checkpoint.label, "code": checkpoint.code}
    return Piece("checkpoint.json", checkpoint, partial(codec.dump, row))


def header(state: FlowState) -> dict[str, Json]:
    """Returns the flow in short, as ``state.json`` has it."""
    states: Json = None if _is_long(state) else [_short(now) for now in state.steps]
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
        "states": states,
        "tasks": _tallies(state),
        "driver": state.driver,
        "parent": state.parent,
        "parent_step": state.parent_step,
        "setback": None if state.setback is None else codec.encode(state.setback),
        "book": codec.encode(bare_book(state.book)),
        "gate": _gate(state),
    }


def bare_book(book: Book) -> Book:
    """Returns what is remembered, without what lies in files of its own."""
    return replace(book, records=Chunks(), rounds=(), passes={}, past=(), audits={})


def _is_long(state: FlowState) -> bool:
    """Returns whether the states of the steps deserve files of their own: each is one more to flush."""
    return len(state.steps) > SIZE


def _short(now: StepState) -> Json:
    return codec.encode(_bare(now))


def _chunked(name: str, items: Chunks[T], encode: Callable[[T], Json] = codec.encode) -> Iterator[Piece]:
    for number, part in enumerate(items.parts):
        yield Piece(f"{name}-{number:04}.json", part, partial(_rows, encode, part))


def _rows(encode: Callable[[T], Json], part: tuple[T, ...]) -> bytes:
    return codec.dump([encode(item) for item in part])


def _encoded(value: object) -> bytes:
    return codec.dump(codec.encode(value))


def _task_folders(names: tuple[StepId, ...], part: tuple[StepState, ...]) -> Iterator[Folder]:
    for step, now in zip(names, part, strict=True):
        fan = fan_of(now)
        if fan is not None:
            yield Folder(step, now, partial(_task_pieces, fan))


def _task_pieces(fan: FannedOut) -> Iterator[Piece]:
    yield Piece("graph.json", fan.graph, partial(_encoded, fan.graph))
    yield from _chunked("tasks", fan.tasks)


def _output_pieces(names: tuple[StepId, ...], part: tuple[Output, ...]) -> Iterator[Piece]:
    for step, output in zip(names, part, strict=True):
        if output:
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
    return replace(fan, graph=NO_GRAPH, tasks=Chunks(), ready=())


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
    total = len(fan.tasks)
    return {"total": total, "running": fan.running, "verified": fan.verified, "dead": fan.dead}
