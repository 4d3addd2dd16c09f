"""How a flow's state lies in the tree of its commits: which file holds what.

::

    spec.yaml                     the text of the spec, as it was given
    event.json                    what happened last
    state.json                    the flow: status, where it is, and the states of its steps in short
    inputs.json
    steps/<step>/output.json      what a finished step produced
    steps/<step>/graph.json       the task graph of a dispatch step
    steps/<step>/tasks-0000.json  the states of its tasks 0 to 31

A piece names its file and the object it is made from, a folder the object that it stands for. The same
object means the same bytes, so the store encodes and writes only what an event changed, however large the
flow. It is as flat as it is because every level is one more object to flush for each event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from stratum_git.core import codec
from stratum_git.core.questions import fan_of
from stratum_git.model.chunks import SIZE, Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.state import (
    Abandoned,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Pending,
    PendingSync,
    Program,
    Status,
    StepState,
    Succeeded,
    TaskState,
)

NO_GRAPH = TaskGraph((), (), (), ())
VERSION = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A file: its path, the object that it is made from, and how."""

    path: str
    token: object
    encode: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pieces that is unchanged as long as ``token`` is the same object.

    ``path`` is below ``steps``, and the paths of its pieces are below itself.
    """

    path: str
    token: object
    pieces: Callable[[], Iterator[Piece]]


def files(state: FlowState) -> tuple[Piece, ...]:
    """Returns the files at the top of the tree, ``spec.yaml`` and ``event.json`` excepted."""
    return (
        Piece("state.json", state, lambda: codec.dump(header(state))),
        Piece("inputs.json", state.inputs, lambda: codec.dump(dict(state.inputs))),
    )


def folders(state: FlowState) -> Iterator[Folder]:
    """Returns the folders below ``steps``, of the steps that have one."""
    for step, now in zip(state.program.order, state.steps, strict=True):
        if fan_of(now) is not None or _output_of(now) is not None:
            yield Folder(step, now, partial(_folder_pieces, now))


def header(state: FlowState) -> dict[str, Json]:
    """Returns the flow in short, as ``state.json`` has it."""
    return {
        "version": VERSION,
        "flow": state.flow,
        "name": state.program.flow.name,
        "status": state.status,
        "cursor": state.cursor,
        "seq": state.seq,
        "base": state.base,
        "target": state.target,
        "started": state.started,
        "updated": state.updated,
        "cancelling": state.cancelling,
        "paused": state.paused,
        "unsynced": [codec.encode(s) for s in state.unsynced],
        "steps": len(state.steps),
        "states": [codec.encode(_bare(now)) for now in state.steps],
        "tasks": _tallies(state),
    }


def rebuild(program: Program, files: Mapping[str, bytes]) -> FlowState:
    """Returns the state whose pieces are *files*; raises UnreadableError when they do not fit together."""
    head = codec.load(_file(files, "state.json"))
    if not isinstance(head, dict) or head.get("version") != VERSION:
        raise codec.UnreadableError("the flow was written by a version that this one does not know")
    rows = head.get("states")
    if not isinstance(rows, list) or len(rows) != len(program.order):
        raise codec.UnreadableError("the flow's state does not fit its spec")
    steps = [
        _rebuilt_step(cast("StepState", codec.decode_any(row)), files, f"steps/{step}")
        for step, row in zip(program.order, rows, strict=True)
    ]
    inputs = cast("dict[str, Json]", codec.load(_file(files, "inputs.json")))
    cursor = head.get("cursor")
    cancelling = head.get("cancelling")
    return FlowState(
        program=program,
        flow=FlowId(str(head["flow"])),
        inputs=inputs,
        base=Oid(str(head["base"])),
        target=RefName(str(head["target"])),
        started=cast("float", head["started"]),
        steps=Chunks.of(steps),
        cursor=None if cursor is None else StepId(str(cursor)),
        status=cast("Status", head["status"]),
        seq=cast("int", head["seq"]),
        updated=cast("float", head["updated"]),
        cancelling=None if cancelling is None else str(cancelling),
        paused=head.get("paused") is True,
        unsynced=tuple(codec.decode(PendingSync, s) for s in cast("list[Json]", head["unsynced"])),
    )


def _folder_pieces(now: StepState) -> Iterator[Piece]:
    output = _output_of(now)
    if output is not None:
        yield Piece("output.json", output, partial(codec.dump, output))
    fan = fan_of(now)
    if fan is not None:
        yield Piece("graph.json", fan.graph, partial(_encoded, fan.graph))
        for number, tasks in enumerate(fan.tasks.parts):
            yield Piece(f"tasks-{number:04}.json", tasks, partial(_encoded, tasks))


def _output_of(now: StepState) -> Json:
    return now.output if isinstance(now, Succeeded | Failed) else None


def _encoded(value: object) -> bytes:
    return codec.dump(codec.encode(value))


def _bare(now: StepState) -> StepState:
    """Returns a step's state without what lies in files of its own."""
    match now:
        case FannedOut():
            return _bare_fan(now)
        case Landing(work=FannedOut() as fan):
            return replace(now, work=_bare_fan(fan))
        case Succeeded() | Failed():
            return replace(now, output=None, work=None if now.work is None else _bare_fan(now.work))
        case Abandoned(work=FannedOut() as fan):
            return replace(now, work=_bare_fan(fan))
        case _:
            return now


def _bare_fan(fan: FannedOut) -> FannedOut:
    return replace(fan, graph=NO_GRAPH, tasks=Chunks(), ready=())


def _rebuilt_step(now: StepState, files: Mapping[str, bytes], path: str) -> StepState:
    fan = fan_of(now)
    if fan is not None:
        now = _with_fan(now, _rebuilt_fan(fan, files, path))
    output = files.get(f"{path}/output.json")
    if isinstance(now, Succeeded | Failed) and output is not None:
        return replace(now, output=codec.load(output))
    return now


def _rebuilt_fan(fan: FannedOut, files: Mapping[str, bytes], folder: str) -> FannedOut:
    graph = codec.decode(TaskGraph, codec.load(_file(files, f"{folder}/graph.json")))
    rows: list[TaskState] = []
    for number in range(0, len(graph.tasks), SIZE):
        part = codec.load(_file(files, f"{folder}/tasks-{number // SIZE:04}.json"))
        rows += [cast("TaskState", codec.decode_any(row)) for row in cast("list[Json]", part)]
    ready = tuple(i for i, now in enumerate(rows) if isinstance(now, Pending) and not now.waits)
    return replace(fan, graph=graph, tasks=Chunks.of(rows), ready=ready)


def _with_fan(now: StepState, fan: FannedOut) -> StepState:
    match now:
        case Landing() | Succeeded() | Failed() | Abandoned():
            return replace(now, work=fan)
        case _:
            return fan


def _tallies(state: FlowState) -> Json:
    fan = fan_of(state.step(state.cursor)) if state.cursor is not None else None
    if fan is None:
        return None
    total = len(fan.tasks)
    return {"total": total, "running": fan.running, "verified": fan.verified, "dead": fan.dead}


def _file(files: Mapping[str, bytes], path: str) -> bytes:
    if path not in files:
        raise codec.UnreadableError(f"the flow's commit has no {path}")
    return files[path]
