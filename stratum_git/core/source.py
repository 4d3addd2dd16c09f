"""The task graph of a dispatch step, at the moment when the flow comes to it."""

from __future__ import annotations

from stratum_git.core import contest
from stratum_git.core.questions import outputs
from stratum_git.core.references import Unresolved, resolve
from stratum_git.core.taskgraph import LIMIT, read_graph
from stratum_git.model.graph import TaskGraph
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import FlowState


def graph_of(state: FlowState, work: Dispatch) -> TaskGraph | tuple[str, ...]:
    """Returns the graph that *work* is to fan out, with candidates, or everything that is wrong with it."""
    source = resolve(work.source, state.inputs, outputs(state))
    if isinstance(source, Unresolved):
        return (f"source: {source.reason}",)
    graph = read_graph(source.value)
    if not isinstance(graph, TaskGraph):
        return tuple(sentence(p.path, p.message, p.hint) for p in graph)
    refused = tuple(contest.refusals(graph, work, LIMIT))
    if refused:
        return tuple(sentence(p.path, p.message, p.hint) for p in refused)
    if isinstance(work.require, int) and work.require > len(graph.tasks):
        return (f"require: {work.require} can never be met by {len(graph.tasks)} tasks",)
    return contest.expanded(graph, work)


def sentence(path: str, message: str, hint: str) -> str:
    """Returns a problem of a graph as one sentence."""
    head = f"{path}: {message}" if path else message
    return f"{head} ({hint})" if hint else head
