"""What is wrong with a run before it begins, as far as that can be known: graphs, templates, agents.

Where a task graph is an input, all of it is there already. What a planner will return is judged when it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stratum_git.agents.base import Agent
from stratum_git.core import contest
from stratum_git.core.references import Unresolved, resolve
from stratum_git.core.taskgraph import LIMIT, read_graph
from stratum_git.core.template import OF_A_COMMIT, MissingField, render, render_message
from stratum_git.dispatch.context import DEFAULT_AGENT, NOBODY, agent_name, find_agent
from stratum_git.errors import UserError
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.spec import Dispatch, Gate, Problem, Step, Task
from stratum_git.model.state import Program

SHOWN = 20


class InvalidInputError(UserError):
    """A task graph that was given as an input has problems; they are in ``problems``."""

    def __init__(self, step: Step, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        where = f"{first.path}: " if first.path else ""
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        super().__init__(f"step {step.id} cannot be run: {where}{first.message}{more}", hint=first.hint)
        self.problems = problems[:SHOWN]


class AgentMissingError(UserError):
    """An agent's program does not exist."""


def check(
    program: Program, inputs: Mapping[str, Json], agents: Mapping[str, Agent], only: StepId | None = None
) -> None:
    """Raises UserError for what would surely fail once the flow runs, or *only* this step of it."""
    for step in program.flow.steps:
        if only not in {None, step.id}:
            continue
        graph = _graph(step, inputs)
        names = [agent_name(step, task) for task in _who_works(step, graph, agents)]
        names += [step.work.resolver] if isinstance(step.work, Dispatch) and step.work.resolver else []
        for name in names:
            agent = find_agent(agents, name, step)
            problem = agent.problem()
            if problem is not None:
                raise AgentMissingError(problem, hint="install it, or name another command with --agent")


def _graph(step: Step, inputs: Mapping[str, Json]) -> TaskGraph | None:
    """Returns the graph of a step where it is known by now; raises InvalidInputError."""
    work = step.work
    if not isinstance(work, Dispatch) or not work.source.startswith("$.input."):
        return None
    found = resolve(work.source, inputs, {})
    if isinstance(found, Unresolved):
        raise InvalidInputError(step, (Problem(work.source, found.reason),))
    graph = read_graph(found.value)
    if not isinstance(graph, TaskGraph):
        raise InvalidInputError(step, graph)
    problems = (*contest.refusals(graph, work, LIMIT), *_untold(work, graph, inputs))
    if problems:
        raise InvalidInputError(step, problems)
    return graph


def _untold(work: Dispatch, graph: TaskGraph, inputs: Mapping[str, Json]) -> Iterator[Problem]:
    for place, task in _workers(work, graph):
        rendered = render(work.intent_template if task.intent is None else task.intent, task.fields, inputs)
        if isinstance(rendered, MissingField):
            has = ", ".join(rendered.available) or "nothing"
            said = f"the intent of {task.id} names {rendered.field}, which is not there (there is: {has})"
            yield Problem(f"tasks.{place}", said)
        known: dict[str, Json] = dict.fromkeys(OF_A_COMMIT, "")
        message = render_message(work.commit_message or "", task.fields, inputs, known)
        if isinstance(message, MissingField):
            has = ", ".join(message.available) or "nothing"
            said = f"commit_message names {message.field}, which {task.id} does not have (it has: {has})"
            yield Problem(f"tasks.{place}", said)


def _workers(work: Dispatch, graph: TaskGraph) -> Iterator[tuple[int, Task]]:
    """Yields what somebody has to do, with the place of its task: a task, or each of its candidates."""
    for place, task in enumerate(graph.tasks):
        yield from ((place, one) for one in contest.entrants(work, task) or (task,))


def _who_works(step: Step, graph: TaskGraph | None, agents: Mapping[str, Agent]) -> Iterator[Task | None]:
    """Yields a task for each agent that the step surely needs; ``None`` stands for the step's own."""
    if isinstance(step.work, Gate) or step.agent == NOBODY:
        return
    work = step.work
    if isinstance(work, Dispatch) and graph is not None:
        yield from {agent_name(step, task): task for _, task in _workers(work, graph)}.values()
        return
    if isinstance(work, Dispatch):
        named = contest.entrants(work, Task(TaskId(step.id), {}))
        yield from {task.agent: task for task in named if task.agent is not None}.values()
    if not isinstance(work, Dispatch) or step.agent is not None or DEFAULT_AGENT in agents or not agents:
        # Where no default is named, the tasks that are still to be planned may name agents of their own.
        yield None
