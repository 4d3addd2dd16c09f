"""Where a tool ends and the client begins: every refusal has one shape, and says what to do next."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import wraps
from inspect import cleandoc
from itertools import accumulate
from typing import Any, ParamSpec, TypeAlias

import trio

from stratum_git.app.refused import Refused
from stratum_git.errors import BugError, HostError, StratumError, as_host_error
from stratum_git.model.ids import Json

P = ParamSpec("P")
LONGEST = 50_000
"""Characters of an answer. Claude Code cuts longer ones off wherever that is."""
Answer: TypeAlias = dict[str, Any]
"""An object of JSON; the SDK takes its type from here for the tool's output schema."""
SESSION_KINDS = frozenset(
    {
        "session_busy", "session_interrupted", "session_closed", "session_full", "session_not_found",
        "not_a_session", "agent_not_found",
    }
)  # fmt: skip
ALWAYS: dict[str, Any] = {"anthropic/alwaysLoad": True}
"""Claude Code tells a model the names of tools, and the rest once it looks for one; of these at once."""
KINDS = {
    "UnknownFlow": "flow_not_found",
    "UnknownTask": "task_not_found",
    "BusyFlow": "flow_busy",
    "LandingAhead": "landing_ahead",
}
"""The protocol's words for what is refused; others have a word of their own, or none."""


def refusal(kind: str, message: str, *, hint: str = "", **facts: Json) -> Answer:
    """Returns the answer to a call that cannot be fulfilled."""
    return {
        "status": "error",
        "error_type": kind,
        "message": message,
        **({"hint": hint} if hint else {}),
        **facts,
    }


def tool(work: Callable[P, Answer]) -> Callable[P, Awaitable[Answer]]:
    """Makes a tool of a function: it runs in a thread, and its errors become answers.

    What is raised inside of a nursery would reach the client as a group without words.
    """

    @wraps(work)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            # A client that leaves does not wait for what it began: it is recorded, or it was never begun.
            return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), abandon_on_cancel=True)
        except StratumError as error:
            return answered(error, kwargs, work.__name__)
        except OSError as error:
            return answered(_expected(error), kwargs, work.__name__)

    return _described(call)


def waiting_tool(work: Callable[P, Awaitable[Answer]]) -> Callable[P, Awaitable[Answer]]:
    """Makes a tool of a function that may wait; its errors become answers, also out of a nursery."""

    @wraps(work)
    async def call(*args: P.args, **kwargs: P.kwargs) -> Answer:
        found: StratumError | None = None
        try:
            return await work(*args, **kwargs)
        except StratumError as error:
            found = error
        except OSError as error:
            found = _expected(error)
        except BaseExceptionGroup as group:
            found = _only(group)
            if found is None:
                raise
        return answered(found, kwargs, work.__name__)

    return _described(call)


def _described(call: Callable[P, Awaitable[Answer]]) -> Callable[P, Awaitable[Answer]]:
    """Takes the indentation of the code from what a client is told of a tool: its model pays for it."""
    call.__doc__ = cleandoc(call.__doc__ or "")
    return call


def answered(error: StratumError, given: Mapping[str, object], name: str) -> Answer:
    """Returns the answer to a call of the tool *name* that failed; a mistake of ours is raised again."""
    if isinstance(error, BugError):
        raise error
    if isinstance(error, Refused):
        kind, facts = error.kind, dict(error.facts)
    else:
        kind, facts = "host_error" if isinstance(error, HostError) else _kind(error), {}
    return {**refusal(kind, error.message, hint=error.hint, **facts), "next": next_calls(kind, given, name)}


def _only(group: BaseExceptionGroup[BaseException]) -> StratumError | None:
    """Returns the one error of a group, however deep; ``None`` when there is more to it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, OSError):
        return as_host_error(error)
    return error if isinstance(error, StratumError) else None


def _expected(error: OSError) -> HostError:
    """Returns a failure of the disk in words; raises any other again."""
    found = as_host_error(error)
    if found is None:
        raise error
    return found


def _kind(error: StratumError) -> str:
    named = getattr(error, "kind", None)
    if isinstance(named, str):
        return named
    name = type(error).__name__.removesuffix("Error")
    return KINDS.get(name) or error.word.lower() or "execution_error"


def next_call(name: str, given: Mapping[str, object], why: str) -> Answer:
    """Returns a call that a client may make next, and why."""
    return {"tool": name, "args": dict(given), "why": why}


def next_calls(kind: str, given: Mapping[str, object], name: str) -> list[Answer]:
    """Returns what a client that was refused by the tool *name* may call next, and why."""
    if kind in SESSION_KINDS:
        return _next_of_session(kind, given)
    flow = {"flow_id": str(given["flow_id"])} if given.get("flow_id") else {}
    look = next_call("stratum_resume", flow, "see where the flow is")
    listing = next_call("stratum_flows", {}, "see which flows there are")
    if kind == "flow_not_found" or not flow:
        check = next_call("stratum_validate", {}, "see every problem of the spec")
        return [check] if kind.startswith("ir_") else [listing]
    if kind in {"flow_complete", "flow_already_complete", "retries_exhausted", "spec_modified"}:
        return [next_call("stratum_audit", flow, "see how the flow went")]
    if kind == "gate_step_requires_gate_resolve":
        return [next_call("stratum_gate_resolve", flow, "the flow waits for a decision")]
    return _next_settling(kind, flow, given, name) or [look]


def _next_of_session(kind: str, given: Mapping[str, object]) -> list[Answer]:
    """Returns what comes next where an agent was to be told something, and was not."""
    flow = {"flow_id": str(given.get("session_id") or given.get("flow_id") or "")}
    look = next_call("stratum_agent_sessions", {"session_id": flow["flow_id"]}, "see where it is")
    match kind:
        case "session_busy":
            return [next_call("stratum_parallel_wait", flow, "wait for the end of its turn"), look]
        case "session_interrupted":
            return [next_call("stratum_parallel_start", flow, "go on with the turn that was cut off"), look]
        case "session_closed" | "session_full":
            return [next_call("stratum_agent_run", {}, "begin a new one, with the branch as its base"), look]
        case "agent_not_found":
            return [next_call("stratum_doctor", {}, "see which agents there are")]
        case _:
            return [next_call("stratum_agent_sessions", {}, "see which sessions there are")]


def _next_settling(kind: str, flow: Answer, given: Mapping[str, object], name: str) -> list[Answer]:
    """Returns what comes next where one flow was to be settled, and was not."""
    match kind:
        case "checkout_in_the_way":
            named = {key: value for key, value in given.items() if value is not None}
            return [next_call(name, named, "again, once that is committed or moved away")]
        case "flow_busy":
            look = next_call("stratum_resume", flow, "see where the flow is")
            return [next_call("stratum_parallel_wait", flow, "wait for whoever is at work on it"), look]
        case "not_over":
            return [next_call("stratum_parallel_cancel", flow, "end it first, or wait for its end")]
        case "landing_ahead":
            return [next_call("stratum_parallel_land", flow, "land what the flow itself is about to")]
        case "not_open":
            task = {"task_id": given.get("task_id"), "action": "open"}
            return [next_call("stratum_conflict_resolve", {**flow, **task}, "open the conflict")]
        case "no_conflict" | "being_resolved":
            return [next_call("stratum_conflicts", flow, "see what conflicts")]
        case "built_on" | "nothing_landed":
            return [next_call("stratum_events", flow, "see what the flow landed")]
        case _:
            return []


def bounded(answer: Answer) -> Answer:
    """Returns an answer that a client can take in: what is dear and told elsewhere goes first.

    A trace is cut at its beginning. Where a batch says what to do, ``tasks`` are only named. Of a batch the
    beginning is told; the rest comes with the next answer, since what is handed out stays so. Of what very
    many tasks came to, the beginning is told too: the flow has the rest.
    """
    for narrow in (_fewer_records, _named_tasks, _fewer_handed_out, _fewer_results):
        if _fits(answer):
            break
        answer = narrow(answer)
    return answer


def _fits(answer: Answer) -> bool:
    return len(json.dumps(answer, ensure_ascii=False)) <= LONGEST


def _fewer_records(answer: Answer) -> Answer:
    trace = answer.get("trace")
    if not isinstance(trace, list):
        return answer
    room = LONGEST - len(json.dumps({**answer, "trace": []}, ensure_ascii=False))
    kept = len(trace)
    while kept and len(json.dumps(trace[-kept:], ensure_ascii=False)) > max(room, 0):
        kept //= 2
    return {**answer, "trace": trace[len(trace) - kept :], "trace_omitted": len(trace) - kept}


def _named_tasks(answer: Answer) -> Answer:
    tasks, batch = answer.get("tasks"), answer.get("batch")
    if not isinstance(tasks, list) or not batch:
        return answer
    named = [{key: one[key] for key in ("id", "depends_on") if key in one} for one in tasks]
    kept = _within(named, LONGEST // 2)
    return {**answer, "tasks": kept, "tasks_shortened": True, "tasks_omitted": len(named) - len(kept)}


def _fewer_handed_out(answer: Answer) -> Answer:
    batch = answer.get("batch")
    if not isinstance(batch, list):
        return answer
    rest = {**answer, "batch": [], "batch_omitted": len(batch)}
    kept = _within(batch, LONGEST - len(json.dumps(rest, ensure_ascii=False)))
    return {**answer, "batch": kept, "batch_omitted": len(batch) - len(kept)}


def _fewer_results(answer: Answer) -> Answer:
    output = answer.get("output")
    if not isinstance(output, dict) or not output.keys() >= {"tasks", "completed", "failed", "merge_status"}:
        return answer
    bare = {**answer, "output": {**output, "tasks": [], "completed": [], "failed": []}}
    room = (LONGEST - len(json.dumps(bare, ensure_ascii=False)) - 200) // 3
    told, omitted = dict(output), dict[str, int]()
    for name in ("failed", "completed", "tasks"):
        rows = [row for row in output[name] if isinstance(row, dict)]
        told[name] = _within(rows, room)
        omitted[name] = len(output[name]) - len(told[name])
    return {**answer, "output": told, "output_omitted": omitted}


def _within(rows: list[Answer], room: int) -> list[Answer]:
    """Returns the first of *rows*, as many as there is room for, at least one."""
    ends = accumulate(len(json.dumps(row, ensure_ascii=False)) + 2 for row in rows)
    return rows[: max(1, sum(end <= room for end in ends))]


def shortened(answer: Answer) -> Answer:
    """Returns an answer that a client can take in: of lists that are too long the beginning is told.

    ``omitted`` says how many rows are not, by the name of the list.
    """
    if len(json.dumps(answer, ensure_ascii=False)) <= LONGEST:
        return answer
    told: Answer = json.loads(json.dumps(answer))
    omitted: dict[str, int] = {}
    while len(json.dumps({**told, "omitted": omitted}, ensure_ascii=False)) > LONGEST:
        name, longest = max(_lists(told), key=lambda one: len(one[1]), default=("", []))
        kept = len(longest) // 2
        if not kept:
            break
        omitted[name] = omitted.get(name, 0) + len(longest) - kept
        del longest[kept:]
    return {**told, "omitted": omitted}


def _lists(value: Answer) -> Iterator[tuple[str, list[Any]]]:
    """Yields all lists in an object, with their names."""
    for name, inner in value.items():
        if isinstance(inner, list):
            yield name, inner
        for one in inner if isinstance(inner, list) else [inner]:
            if isinstance(one, dict):
                yield from _lists(one)


def page(text: str, cursor: int, limit: int) -> Answer:
    """Returns a part of a long text, and where the next one begins (``None`` at its end)."""
    start = max(0, cursor)
    end = start + max(1, limit)
    return {
        "text": text[start:end],
        "cursor": start,
        "next_cursor": end if end < len(text) else None,
        "total_chars": len(text),
    }
