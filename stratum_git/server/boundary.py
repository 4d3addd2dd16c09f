"""Where a tool ends and the client begins: every refusal has one shape, and says what to do next."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
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
            return answered(error, kwargs)
        except OSError as error:
            return answered(_expected(error), kwargs)

    return call


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
        return answered(found, kwargs)

    return call


def answered(error: StratumError, given: Mapping[str, object]) -> Answer:
    """Returns the answer to a call that failed; what is a mistake of ours is raised again."""
    if isinstance(error, BugError):
        raise error
    if isinstance(error, Refused):
        kind, facts = error.kind, dict(error.facts)
    else:
        kind, facts = "host_error" if isinstance(error, HostError) else _kind(error), {}
    return {**refusal(kind, error.message, hint=error.hint, **facts), "next": next_calls(kind, given)}


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
    return {"UnknownFlow": "flow_not_found", "UnknownTask": "task_not_found"}.get(name, "execution_error")


def next_calls(kind: str, given: Mapping[str, object]) -> list[Answer]:
    """Returns what a client that was refused may call next, and why."""
    flow = {"flow_id": str(given["flow_id"])} if "flow_id" in given else {}
    look = {"tool": "stratum_resume", "args": flow, "why": "see where the flow is"}
    listing = {"tool": "stratum_flows", "args": {}, "why": "see which flows there are"}
    if kind == "flow_not_found" or not flow:
        check = {"tool": "stratum_validate", "args": {}, "why": "see every problem of the spec"}
        return [check] if kind.startswith("ir_") else [listing]
    if kind in {"flow_complete", "flow_already_complete", "retries_exhausted", "spec_modified"}:
        return [{"tool": "stratum_audit", "args": flow, "why": "see how the flow went"}]
    if kind == "gate_step_requires_gate_resolve":
        return [{"tool": "stratum_gate_resolve", "args": flow, "why": "the flow waits for a decision"}]
    return [look]


def bounded(answer: Answer) -> Answer:
    """Returns an answer that a client can take in: a trace that is too long is cut at its beginning."""
    trace = answer.get("trace")
    if not isinstance(trace, list) or len(json.dumps(answer, ensure_ascii=False)) <= LONGEST:
        return answer
    room = LONGEST - len(json.dumps({**answer, "trace": []}, ensure_ascii=False))
    kept = len(trace)
    while kept and len(json.dumps(trace[-kept:], ensure_ascii=False)) > max(room, 0):
        kept //= 2
    return {**answer, "trace": trace[len(trace) - kept :], "trace_omitted": len(trace) - kept}


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
