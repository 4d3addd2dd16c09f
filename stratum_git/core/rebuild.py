"""Reads a flow's state back out of the files that ``layout.py`` describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast, get_args

from stratum_git.core import codec
from stratum_git.core.layout import NO_GRAPH, VERSION, folder_of_tasks
from stratum_git.core.questions import fan_of
from stratum_git.model.book import Book, Pass, Record
from stratum_git.model.changing import replace
from stratum_git.model.chunks import SIZE, Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.indices import Indices
from stratum_git.model.sessions import ReviewRecord, Session
from stratum_git.model.spending import Spending
from stratum_git.model.state import (
    Abandoned,
    Checkpoint,
    Driver,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Output,
    Pending,
    PendingSync,
    Program,
    PutBack,
    Setback,
    Status,
    StepState,
    Succeeded,
    TaskState,
)

Files = Mapping[str, bytes]


def rebuild(program: Program, files: Files) -> FlowState:
    """Returns the state that *files* hold; raises UnreadableError when they do not fit together.

    Whoever can push to a repository, or be fetched from, may have written them.
    """
    try:
        return _checked(_rebuilt(program, files))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = f"the flow's state makes no sense: {type(error).__name__}: {error}"
        raise codec.UnreadableError(said[:300]) from error


def _checked(state: FlowState) -> FlowState:
    """Returns a state whose parts speak of nothing that is not there."""
    if state.cursor is not None and state.cursor not in state.program.position:
        raise codec.UnreadableError(f"the flow is at {state.cursor}, which is no step of its spec")
    for now in state.steps:
        fan = fan_of(now)
        graph = NO_GRAPH if fan is None else fan.graph
        places = range(len(graph.tasks))
        rows = (*graph.needs, *graph.dependents, graph.order)
        whole = len(graph.needs) == len(graph.dependents) == len(graph.order) == len(places)
        known = all(task.candidate_of is None or task.candidate_of in graph.index for task in graph.tasks)
        if not whole or not known or any(place not in places for row in rows for place in row):
            raise codec.UnreadableError("the flow's task graph does not fit its tasks")
    return state


def _rebuilt(program: Program, files: Files) -> FlowState:
    head = codec.load(_file(files, "state.json"))
    if not isinstance(head, dict) or head.get("version") not in {1, VERSION}:
        raise codec.UnreadableError("the flow was written by a version that this one does not know")
    rows = _states(head, files, len(program.order))
    if len(rows) != len(program.order):
        raise codec.UnreadableError("the flow's state does not fit its spec")
    steps = [
        _step(cast("StepState", codec.decode_any(row)), files, f"steps/{step}")
        for step, row in zip(program.order, rows, strict=True)
    ]
    state = _from_header(program, head)
    return replace(
        state,
        inputs=dict(cast("dict[str, Json]", codec.load(_file(files, "inputs.json")))),
        steps=Chunks.of(steps),
        outputs=Chunks.of(_outputs(program, files)),
        book=_book(program, head, files),
        checkpoints=tuple(_checkpoints(program, files)),
    )


def _from_header(program: Program, head: dict[str, Json]) -> FlowState:
    cursor, cancelling = head.get("cursor"), head.get("cancelling")
    parent, parent_step, setback = head.get("parent"), head.get("parent_step"), head.get("setback")
    return FlowState(
        program=program,
        flow=FlowId(codec.name("FlowId", head["flow"])),
        inputs={},
        base=Oid(codec.name("Oid", head["base"])),
        target=RefName(codec.name("RefName", head["target"])),
        started=float(cast("float", head["started"])),
        steps=Chunks(),
        outputs=Chunks(),
        cursor=None if cursor is None else StepId(codec.name("StepId", cursor)),
        status=cast("Status", codec.word(head["status"], get_args(Status))),
        seq=int(cast("int", head["seq"])),
        updated=float(cast("float", head["updated"])),
        cancelling=None if cancelling is None else str(cancelling),
        paused=head.get("paused") is True,
        unsynced=tuple(codec.decode(PendingSync, s) for s in cast("list[Json]", head["unsynced"])),
        driver=cast("Driver", codec.word(head.get("driver", "runner"), get_args(Driver))),
        parent=None if parent is None else FlowId(codec.name("FlowId", parent)),
        parent_step=None if parent_step is None else StepId(codec.name("StepId", parent_step)),
        setback=None if setback is None else codec.decode(Setback, setback),
        undone=tuple(codec.decode(PutBack, one) for one in cast("list[Json]", head.get("undone") or [])),
        spent=Spending() if head.get("spent") is None else codec.decode(Spending, head["spent"]),
    )


def _states(head: dict[str, Json], files: Files, count: int) -> list[Json]:
    here, near = cast("list[Json]", head.get("states") or []), head.get("near")
    if near is None and here:
        return here
    found: list[Json] = []
    for number in range(-(-count // SIZE)):
        found += here if number == near else _list(_file(files, f"states-{number:04}.json"))
    return found


def _book(program: Program, head: dict[str, Json], files: Files) -> Book:
    data, newest = head.get("book"), cast("list[Json]", head.get("records") or [])
    if data is None:
        return Book()
    passes = {step: Chunks.of(_passes(_rows(files, f"passes-{step}"))) for step in program.order}
    past = cast("list[dict[str, Json]]", codec.load(files.get("past.json", b"[]")))
    audits = cast("dict[str, list[Json]]", codec.load(files.get("audits.json", b"{}")))
    rounds = (name for name in sorted(files) if name.startswith("round-"))
    return replace(
        codec.decode(Book, data),
        records=Chunks.of(_records([*_rows(files, "records"), *newest])),
        rounds=tuple(Chunks.of(_records(_list(files[name]))) for name in rounds),
        passes={step: found for step, found in passes.items() if len(found)},
        past=tuple(
            {StepId(step): Chunks.of(_passes(cast("list[Json]", rows))) for step, rows in one.items()}
            for one in past
        ),
        audits={StepId(step): tuple(found) for step, found in audits.items()},
        session=_session(files),
        reviews=tuple(codec.decode(ReviewRecord, row) for row in _list(files.get("reviews.json", b"[]"))),
    )


def _session(files: Files) -> Session | None:
    data = files.get("session.json")
    return None if data is None else codec.decode(Session, codec.load(data))


def _checkpoints(program: Program, files: Files) -> Iterator[Checkpoint]:
    numbers = sorted({name.split("/")[1] for name in files if name.startswith("checkpoints/")})
    for number in numbers:
        prefix = f"checkpoints/{number}/"
        mine = {n.removeprefix(prefix): data for n, data in files.items() if n.startswith(prefix)}
        row = cast("dict[str, Json]", codec.load(_file(mine, "checkpoint.json")))
        code = row.get("code")
        state = rebuild(program, mine)
        yield Checkpoint(str(row["label"]), state, None if code is None else Oid(codec.name("Oid", code)))


def _passes(rows: Iterable[Json]) -> Iterator[Pass]:
    return (codec.decode(Pass, row) for row in rows)


def _records(rows: Iterable[Json]) -> Iterator[Record]:
    return (cast("Record", codec.decode_any(row)) for row in rows)


def _list(data: bytes) -> list[Json]:
    return cast("list[Json]", codec.load(data))


def _rows(files: Files, name: str) -> Iterator[Json]:
    number = 0
    while (path := f"{name}-{number:04}.json") in files:
        yield from cast("list[Json]", codec.load(files[path]))
        number += 1


def _outputs(program: Program, files: Files) -> Iterator[Output]:
    short: dict[str, Json] = {}
    for index, step in enumerate(program.order):
        if not index % SIZE:
            data = codec.load(files.get(f"outputs-{index // SIZE:04}.json", b"{}"))
            short = data if isinstance(data, dict) else {}
        yield (short[step],) if step in short else _output(files, step, index)


def _output(files: Files, step: StepId, index: int) -> Output:
    for path in (f"outputs/{index // SIZE:04}/{step}.json", f"steps/{step}/output.json"):
        if path in files:
            return (codec.load(files[path]),)
    return ()


def _step(now: StepState, files: Files, path: str) -> StepState:
    fan = fan_of(now)
    return now if fan is None else _with_fan(now, _fan(fan, files, path))


def _fan(fan: FannedOut, files: Files, folder: str) -> FannedOut:
    graph = codec.decode(TaskGraph, codec.load(_file(files, f"{folder}/graph.json")))
    rows = [cast("TaskState", codec.decode_any(row)) for row in _task_rows(files, folder)]
    if len(rows) != len(graph.tasks):
        raise codec.UnreadableError(f"the flow's commit lacks tasks of {folder}")
    ready = Indices.of(i for i, now in enumerate(rows) if isinstance(now, Pending) and not now.waits)
    return replace(fan, graph=graph, tasks=Chunks.of(rows), ready=ready)


def _task_rows(files: Files, folder: str) -> Iterator[Json]:
    yield from _rows(files, f"{folder}/tasks")
    number = 0
    while (path := f"{folder}/{folder_of_tasks(number)}/tasks-{number:04}.json") in files:
        yield from _list(files[path])
        number += 1


def _with_fan(now: StepState, fan: FannedOut) -> StepState:
    match now:
        case Landing() | Succeeded() | Failed() | Abandoned():
            return replace(now, work=fan)
        case _:
            return fan


def _file(files: Files, path: str) -> bytes:
    if path not in files:
        raise codec.UnreadableError(f"the flow's commit has no {path}")
    return files[path]
