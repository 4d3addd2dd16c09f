"""What a parallel_dispatch step may take: how many agents, in how many rounds, along which chain of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stratum_git.core import contest
from stratum_git.core.experience import Asked, Range, agent_of_task, likely, tries_per_task, usual_size
from stratum_git.core.forecast import (
    Dispatched,
    Forecast,
    Question,
    capped,
    least,
    product,
    seconds_of,
    skippable,
    spread,
    times,
    total,
)
from stratum_git.core.quorum import needed
from stratum_git.core.references import Unresolved, resolve
from stratum_git.core.schedule import chain, makespan
from stratum_git.core.taskgraph import LIMIT, read_graph
from stratum_git.model.graph import TaskGraph
from stratum_git.model.spec import Dispatch, Problem, Step, Task


@dataclass(frozen=True, slots=True)
class _Fan:
    """A step that fans out, its graph with candidates, and the tasks that are left, which somebody does."""

    question: Question
    step: Step
    work: Dispatch
    graph: TaskGraph
    left: tuple[int, ...]

    @property
    def tries(self) -> int:
        return self.work.task_retries + 1


def dispatch(question: Question, step: Step, work: Dispatch) -> Forecast:
    """Returns what a step will do whose graph is known, or not yet, or is none."""
    graph = graph_of(question, work)
    if isinstance(graph, tuple):
        return replace(_unplanned(question, step, work), problems=graph)
    if graph is None:
        return _unplanned(question, step, work)
    over = question.done.get(step.id, frozenset())
    left = tuple(i for i, t in enumerate(graph.tasks) if i not in graph.contests and t.id not in over)
    return _planned(_Fan(question, step, work, graph, left))


def graph_of(question: Question, work: Dispatch) -> TaskGraph | tuple[Problem, ...] | None:
    """Returns the graph of a step with its candidates, its problems, or ``None`` where it is not known."""
    found = resolve(work.source, question.inputs, question.outputs)
    if isinstance(found, Unresolved):
        given = work.source.startswith("$.input.")
        return (Problem(work.source, found.reason),) if given else None
    graph = read_graph(found.value)
    if not isinstance(graph, TaskGraph):
        return graph
    refused = tuple(contest.refusals(graph, work, LIMIT))
    return refused or contest.expanded(graph, work)


def _unplanned(question: Question, step: Step, work: Dispatch) -> Forecast:
    """Returns a step of which nobody knows the tasks yet: as many as it usually had, if it had any."""
    size = usual_size(question.known, question.program.flow.name, step.id)
    each = max(1, len(work.candidates))
    agents = _attempts(question, step, work, times(size, each, each, each))
    asked = _asked(question, step, None)
    left = question.left_for(step)
    low, middle, high = (_rounds(n, each, work) for n in (size.low, size.likely, size.high))
    return skippable(
        Forecast(
            step,
            "parallel_dispatch",
            capped(agents, left.dispatches),
            spread(likely(question.known, asked, "seconds"), Range(low, middle, high, size.source)),
            spread(likely(question.known, asked, "usd"), agents),
            spread(likely(question.known, asked, "tokens"), agents),
            concurrent=work.max_concurrent,
            tries=work.task_retries + 1,
            tasks=size,
            most_seconds=seconds_of(left),
            most_usd=left.usd,
            most_tokens=left.tokens,
        )
    )


def _rounds(tasks: float | None, each: int, work: Dispatch) -> float | None:
    return None if tasks is None else -(-tasks * each // work.max_concurrent)


def _planned(fan: _Fan) -> Forecast:
    question, step, work, graph = fan.question, fan.step, fan.work, fan.graph
    over = question.done.get(step.id, frozenset())
    heads = sum(task.candidate_of is None and task.id not in over for task in graph.tasks)
    many = len(fan.left)
    least_many = many if work.require == "all" else min(many, needed(work.require, heads))
    agents = _attempts(question, step, work, Range(least_many, many, many, "the task graph"))
    left = question.left_for(step)
    alike = dict.fromkeys(fan.left, 1.0)
    return skippable(
        Forecast(
            step,
            "parallel_dispatch",
            capped(agents, left.dispatches),
            _lasting(fan),
            _costs(fan, "usd"),
            _costs(fan, "tokens"),
            concurrent=min(work.max_concurrent, many),
            tries=fan.tries,
            tasks=Range(heads, heads, heads, "the task graph"),
            dispatched=Dispatched(
                heads,
                many if graph.contests else 0,
                round(makespan(graph, alike, work.max_concurrent)),
                chain(graph, fan.left),
            ),
            most_seconds=least(_most_seconds(fan), seconds_of(left)),
            most_usd=least(_most_usd(fan), left.usd),
            most_tokens=left.tokens,
        )
    )


def _asked(question: Question, step: Step, task: Task | None) -> Asked:
    return Asked(question.driver, question.program.flow.name, step.id, agent_of_task(step, task), "task")


def _attempts(question: Question, step: Step, work: Dispatch, runs: Range) -> Range:
    """Returns how many agents run, where each of so many tasks may be tried again."""
    tries = work.task_retries + 1
    if runs.likely is None:
        return runs
    if tries == 1:
        return replace(runs, source="one a task")
    found = tries_per_task(question.known, _asked(question, step, None))
    why = f"each is tried {tries} times at most"
    if found is None:
        why = f"{why}; how often that is needed is not known"
        return Range(runs.low, None, None if runs.high is None else runs.high * tries, why)
    average = min(found[0], tries)
    why = f"{why}; {average:.1f} times on average in {found[1]}"
    return replace(times(runs, 1, average, tries), likely=round(runs.likely * average), source=why)


def _lasting(fan: _Fan) -> Range:
    """Returns how long it takes until the last task is done and has landed."""
    asked = [_asked(fan.question, fan.step, fan.graph.tasks[i]) for i in fan.left]
    known = {one: likely(fan.question.known, one, "seconds") for one in dict.fromkeys(asked)}
    each = [known[one] for one in asked]
    missing = next((one for one in each if one.likely is None), None)
    if missing is not None:
        return missing
    source = "; ".join(dict.fromkeys(one.source for one in each)) or "nothing is left to do"
    spans = Range(
        _span(fan, [one.low for one in each]),
        _span(fan, [one.likely for one in each]),
        _span(fan, [product(one.high, fan.tries) for one in each]),
        source,
    )
    if fan.work.merge == "manual" or fan.work.isolation == "none":
        return spans
    landing = likely(
        fan.question.known, replace(_asked(fan.question, fan.step, None), kind="landing"), "seconds"
    )
    if landing.likely is None:
        return spans
    return replace(total([spans, landing]), source=f"{spans.source}; {landing.source}")


def _span(fan: _Fan, each: Sequence[float | None]) -> float:
    lasting = {index: value or 0.0 for index, value in zip(fan.left, each, strict=True)}
    return makespan(fan.graph, lasting, fan.work.max_concurrent)


def _costs(fan: _Fan, measure: str) -> Range:
    asked = [_asked(fan.question, fan.step, fan.graph.tasks[i]) for i in fan.left]
    known = {one: likely(fan.question.known, one, measure) for one in dict.fromkeys(asked)}
    missing = next((one for one in known.values() if one.likely is None), None)
    if missing is not None:
        return missing
    ratio = tries_per_task(fan.question.known, _asked(fan.question, fan.step, None))
    average = min(ratio[0], fan.tries) if ratio is not None else 1.0
    return times(total([known[one] for one in asked]), 1, average, fan.tries)


def _most_seconds(fan: _Fan) -> float | None:
    """Returns how long the attempts may take at most, by their timeouts; without what checks and lands."""
    if fan.question.driver == "client":
        # A client's subagents are ended by nobody.
        return None
    most: dict[int, float] = {}
    for index in fan.left:
        task = fan.graph.tasks[index]
        limits = fan.question.limits.get(agent_of_task(fan.step, task), fan.question.attempt)
        seconds = task.timeout or fan.work.timeout or limits.seconds
        if seconds is None:
            return None
        most[index] = seconds * fan.tries
    return makespan(fan.graph, most, fan.work.max_concurrent)


def _most_usd(fan: _Fan) -> float | None:
    question = fan.question
    tasks = (fan.graph.tasks[i] for i in fan.left)
    each = [question.limits.get(agent_of_task(fan.step, task), question.attempt).usd for task in tasks]
    return None if None in each else sum(one for one in each if one is not None) * fan.tries
