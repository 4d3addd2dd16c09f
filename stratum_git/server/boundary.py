"""Where a tool ends and the client begins: every refusal has one shape, and says what to do next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeAlias

import trio

from stratum_git.errors import BugError, HostError, StratumError
from stratum_git.model.ids import Json

P = ParamSpec("P")
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
            return await trio.to_thread.run_sync(lambda: work(*args, **kwargs))
        except BugError:
            raise
        except StratumError as error:
            kind = "host_error" if isinstance(error, HostError) else _kind(error)
            return refusal(kind, error.message, hint=error.hint)

    return call


def _kind(error: StratumError) -> str:
    named = getattr(error, "kind", None)
    if isinstance(named, str):
        return named
    name = type(error).__name__.removesuffix("Error")
    return {"UnknownFlow": "flow_not_found", "UnknownTask": "task_not_found"}.get(name, "execution_error")


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
