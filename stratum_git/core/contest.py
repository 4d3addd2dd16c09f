"""Contests: a task that is done several times, by candidates of which one is taken.

Each candidate is a task of its own in the graph, ``TASK@1`` to ``TASK@N``, with attempts, slots, branches
and logs like any other. TASK itself is launched by nobody: it waits for the choice, beside what it needs, and
then has the result of the candidate that was chosen. Only TASK counts, is needed by others, and lands.

No id that an author writes has the sign in it (``taskgraph.ID``), so candidates are never taken for tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stratum_git.model.changing import replace
from stratum_git.model.chunks import Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import TaskId
from stratum_git.model.messages import Completed, Outcome
from stratum_git.model.spec import Dispatch, Problem, Task
from stratum_git.model.state import (
    Elected,
    Exhausted,
    FannedOut,
    Pending,
    Running,
    Standing,
    Stopped,
    TaskState,
    Verified,
)

SIGN = "@"


def author_id(task: TaskId) -> TaskId:
    """Returns the id that the author gave: of a candidate, that of its task."""
    return TaskId(task.partition(SIGN)[0])


def number_of(task: TaskId) -> int | None:
    """Returns which candidate a task is, from 1, or ``None`` when it is none."""
    number = task.partition(SIGN)[2]
    return int(number) if re.fullmatch(r"[1-9][0-9]{0,5}", number) else None


def entrants(work: Dispatch, task: Task) -> tuple[Task, ...]:
    """Returns the candidates of a task, as tasks; none when it is done once.

    What a candidate says itself comes before what its task says, and that before what the step says.
    """
    found = work.candidates if task.candidates is None else task.candidates
    return tuple(
        replace(
            task,
            id=TaskId(f"{task.id}{SIGN}{number}"),
            agent=one.agent or task.agent,
            intent=task.intent if one.intent is None else one.intent,
            candidates=None,
            candidate_of=task.id,
        )
        for number, one in enumerate(found, start=1)
    )


def expanded(graph: TaskGraph, work: Dispatch) -> TaskGraph:
    """Returns the graph with the candidates of each task right behind it."""
    rows = [(task, entrants(work, task)) for task in graph.tasks]
    if not any(entered for _, entered in rows):
        return graph
    places: list[int] = []
    tasks: list[Task] = []
    for task, entered in rows:
        places.append(len(tasks))
        tasks += (replace(task, candidates=None), *entered)
    needs: list[tuple[int, ...]] = []
    dependents: list[tuple[int, ...]] = []
    for place, (_, entered) in enumerate(rows):
        needs += [tuple(places[need] for need in graph.needs[place])] * (1 + len(entered))
        after = sorted(i for later in graph.dependents[place] for i in _all(places, rows, later))
        dependents += [tuple(after), *((),) * len(entered)]
    order = tuple(i for place in graph.order for i in _all(places, rows, place))
    return TaskGraph(tuple(tasks), tuple(needs), tuple(dependents), order)


def refusals(graph: TaskGraph, work: Dispatch, limit: int) -> Iterator[Problem]:
    """Yields why the candidates of a graph cannot be: none can be told apart in a shared directory."""
    contested = [place for place, task in enumerate(graph.tasks) if entrants(work, task)]
    if contested and work.isolation == "none":
        said = "candidates need places of their own, and isolation is none"
        yield Problem(f"tasks.{contested[0]}.candidates", said, hint="write isolation: worktree")
    many = len(graph.tasks) + sum(len(entrants(work, graph.tasks[place])) for place in contested)
    if contested and many > limit:
        said = f"with candidates there are {many} tasks; the limit is {limit}"
        yield Problem("", said, hint="let fewer tasks have candidates")


def is_candidate(graph: TaskGraph, index: int) -> bool:
    """Returns whether task *index* is a candidate of another one."""
    return graph.tasks[index].candidate_of is not None


def head_of(graph: TaskGraph, index: int) -> int | None:
    """Returns the task of which *index* is a candidate, or ``None``."""
    head = graph.tasks[index].candidate_of
    return None if head is None else graph.index.get(head)


def is_open(fan: FannedOut, head: int) -> bool:
    """Returns whether task *head* has candidates of which none has been taken."""
    entered = fan.graph.contests.get(head, ())
    return bool(entered) and not any(isinstance(fan.tasks[i], Elected) for i in entered)


def has_begun(fan: FannedOut, head: int) -> bool:
    """Returns whether one of a task's candidates is at work, or has a result that may be taken."""
    return any(isinstance(fan.tasks[i], Running | Standing) for i in fan.graph.contests.get(head, ()))


def is_due(fan: FannedOut, head: int) -> bool:
    """Returns whether it is time to choose among the candidates of task *head*."""
    states = [fan.tasks[i] for i in fan.graph.contests.get(head, ())]
    over = not any(isinstance(now, Pending | Running) for now in states)
    return isinstance(fan.tasks[head], Pending) and over and any(isinstance(now, Standing) for now in states)


def due(fan: FannedOut) -> tuple[int, ...]:
    """Returns the tasks whose candidates wait for the choice."""
    return tuple(head for head in fan.graph.contests if is_due(fan, head))


def entered(graph: TaskGraph, index: int, after: TaskState, outcome: Outcome) -> TaskState:
    """Returns the state of a task after a report: a candidate with a good result stands for the choice."""
    if isinstance(after, Verified) and is_candidate(graph, index):
        usage = outcome.usage if isinstance(outcome, Completed) else {}
        return Standing(after.attempt, after.base, after.result, after.output, usage)
    return after


def defeat(fan: FannedOut, head: int) -> Exhausted | Stopped | None:
    """Returns what task *head* comes to when none of its candidates can be taken any more."""
    entered_ = fan.graph.contests[head]
    states = [fan.tasks[i] for i in entered_]
    if not isinstance(fan.tasks[head], Pending):
        return None
    if any(isinstance(now, Pending | Running | Standing) for now in states):
        return None
    said = [f"{fan.graph.tasks[i].id}: {reason_of(fan.tasks[i])}" for i in entered_]
    failed = next((now for now in states if isinstance(now, Exhausted)), None)
    if failed is None:
        return Stopped(0, "; ".join(said))
    return Exhausted(failed.attempt, failed.kind, ("none of its candidates can be taken", *said))


def withdrawn(fan: FannedOut, index: int, why: str) -> FannedOut:
    """Returns the step with the result of a candidate no longer to be taken."""
    now = fan.tasks[index]
    if not isinstance(now, Standing):
        return fan
    return replace(fan, tasks=fan.tasks.replace(index, Stopped(now.attempt, why, now.result)))


def decided(fan: FannedOut, head: int, winner: int, reasons: dict[TaskId, str]) -> FannedOut:
    """Returns the step with the result of candidate *winner* as that of task *head*."""
    now = fan.tasks[winner]
    if not isinstance(now, Standing):
        return fan
    for index in fan.graph.contests[head]:
        if index != winner:
            fan = withdrawn(fan, index, reasons.get(fan.graph.tasks[index].id, ""))
    why = reasons.get(fan.graph.tasks[winner].id, "")
    tasks = fan.tasks.replace(winner, Elected(now.attempt, now.base, now.result, why))
    tasks = tasks.replace(head, Verified(now.attempt, now.base, now.result, now.output))
    return replace(fan, tasks=tasks)


def winner_of(fan: FannedOut, head: int) -> int | None:
    """Returns the candidate whose result task *head* has, or ``None``."""
    entered_ = fan.graph.contests.get(head, ())
    return next((i for i in entered_ if isinstance(fan.tasks[i], Elected)), None)


def words_of(fan: FannedOut, head: int) -> str | None:
    """Returns which candidate a task has its result of, such as ``2 of 3``."""
    winner = winner_of(fan, head)
    if winner is None:
        return None
    return f"{number_of(fan.graph.tasks[winner].id)} of {len(fan.graph.contests[head])}"


def reason_of(now: TaskState) -> str:
    """Returns why a candidate was taken, or was not."""
    match now:
        case Exhausted(kind=kind, findings=findings):
            return f"{kind}: {'; '.join(findings)}"
        case Stopped(why=why) | Elected(why=why):
            return why
        case _:
            return "it is not over"


def again(
    fan: FannedOut, tasks: Chunks[TaskState], head: int, waits: int, *, only: str | None = None
) -> tuple[Chunks[TaskState], list[int]]:
    """Returns the states with the candidates of task *head* to be done again, and those that are ready.

    With *only*, those are done again that were stopped for that reason.
    """
    ready = []
    for index in fan.graph.contests.get(head, ()):
        now = fan.tasks[index]
        if only is None or (isinstance(now, Stopped) and now.why == only):
            findings = now.findings if isinstance(now, Exhausted) else ()
            tasks = tasks.replace(index, Pending(waits, now.attempt, findings=findings))
            ready += [] if waits else [index]
    return tasks, ready


def _all(places: list[int], rows: list[tuple[Task, tuple[Task, ...]]], place: int) -> range:
    return range(places[place], places[place] + 1 + len(rows[place][1]))
