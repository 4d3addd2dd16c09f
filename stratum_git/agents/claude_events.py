"""What a run of Claude Code tells, line by line: ``stream-json``, as two versions of it were seen to write.

Only what is known is read, and what is missing is not there: other versions tell more, and some less.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from stratum_git.agents.stream import event_of, number, part, rows, words
from stratum_git.model.ids import Json

LIMITS = frozenset({429, 529})
"""Statuses of the API with which it has no room now."""
PATIENCE = 10.0
"""Seconds that the client may wait for the API by itself. Longer than that the flow is told to."""
CHANGING = frozenset({"Bash", "Edit", "NotebookEdit", "Write"})
"""Tools that work is done with."""
SHOWN = 160
ARGUMENTS = ("command", "file_path", "notebook_path", "pattern", "description", "url", "query", "skill")
"""What says the most of a tool's input, first one first."""


@dataclass(frozen=True, slots=True)
class Limited:
    """The API has no room. ``after`` are the seconds to wait, where that is known."""

    reason: str
    after: float | None


@dataclass(frozen=True, slots=True)
class Spent:
    """It has used what it may."""

    reason: str


Stopped: TypeAlias = Limited | Spent


@dataclass
class Counter:
    """Tokens so far. Each answer is told of several times, with more in it each time."""

    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    _current: dict[str, str] = field(default_factory=dict)

    @property
    def input_tokens(self) -> int:
        """Returns what was read, out of caches too."""
        return sum(read for read, _ in self._seen.values())

    @property
    def output_tokens(self) -> int:
        """Returns what was written."""
        return sum(written for _, written in self._seen.values())

    def hear(self, event: Mapping[str, Json]) -> bool:
        """Takes in an event; returns whether it changed anything."""
        lane = words(event.get("parent_tool_use_id"))
        if event.get("type") == "assistant":
            return self._add(words(part(event.get("message"), "id")), part(event.get("message"), "usage"))
        inner = event.get("event")
        if part(inner, "type") == "message_start":
            self._current[lane] = words(part(inner, "message", "id"))
            return self._add(self._current[lane], part(inner, "message", "usage"))
        if part(inner, "type") == "message_delta":
            return self._add(self._current.get(lane, ""), part(inner, "usage"))
        return False

    def _add(self, message: str, usage: Json) -> bool:
        if not message or not isinstance(usage, dict):
            return False
        before = self._seen.get(message, (0, 0))
        now = (max(before[0], tokens_in(usage)), max(before[1], int(number(usage.get("output_tokens")))))
        self._seen[message] = now
        return now != before


@dataclass
class Run:
    """A run of the client, as far as it has told of itself.

    *stop* ends it: when the API wants to be left alone for long, or when it has used its *tokens*. *tell* is
    told of its costs whenever they grow. ``said`` is what the story begins with.
    """

    tell: Callable[[Mapping[str, Json]], None]
    stop: Callable[[], None]
    tokens: int | None = None
    said: tuple[str, ...] = ()
    session: str | None = None
    model: str | None = None
    result: Mapping[str, Json] | None = None
    """All that it told at its ends: one more for each of its own agents in the background that came back."""
    is_unknown: bool = False
    """Whether the API does not know who asks: another run would fare no better."""
    stopped: Stopped | None = None
    limit: Limited | None = None
    """What was told of a limit, since an answer of the model came the last time."""
    has_worked: bool = False
    """Whether it used any tool with success that work is done with."""
    counter: Counter = field(default_factory=Counter)
    _tools: dict[str, str] = field(default_factory=dict)

    def read(self, line: bytes) -> Sequence[str] | None:
        """Reads a line; returns what to tell of it, or ``None`` for pieces of what comes as a whole later."""
        begun, self.said = self.said, ()
        event = event_of(line)
        if event is None:
            return [*begun, line.decode("utf-8", "replace")] if line.strip() else begun
        if self.counter.hear(event):
            self._count()
        if event.get("type") == "stream_event":
            return begun or None
        indent = "  " if event.get("parent_tool_use_id") else ""
        return [*begun, *(f"{indent}{said}" for said in self._told(event))]

    def _told(self, event: Mapping[str, Json]) -> Sequence[str]:
        match event.get("type"), event.get("subtype"):
            case "system", "init":
                return self._began(event)
            case "system", "api_retry":
                return self._waits(event)
            case "rate_limit_event", _:
                return self._limited(event.get("rate_limit_info"))
            case "assistant", _:
                return self._answered(event)
            case "user", _:
                return self._heard(event)
            case "result", _:
                self.result = event if self.result is None else together(self.result, event)
                return [ending(event)]
            case _:
                return []

    def _began(self, event: Mapping[str, Json]) -> Sequence[str]:
        known = self.session, self.model
        self.session = words(event.get("session_id")) or self.session
        self.model = words(event.get("model")) or self.model
        # It begins anew, as it says, with whatever wakes it.
        same = known == (self.session, self.model)
        return [] if same else [f"[conversation {self.session}, model {self.model}]"]

    def _answered(self, event: Mapping[str, Json]) -> list[str]:
        error = words(event.get("error"))
        self.is_unknown = error == "authentication_failed"
        if error in {"rate_limit", "overloaded"}:
            after = None if self.limit is None else self.limit.after
            self.limit = Limited("the API has no room", after)
        elif not event.get("parent_tool_use_id"):
            self.limit = None
        told = []
        for block in rows(part(event.get("message"), "content")):
            if block.get("type") == "text" and words(block.get("text")).strip():
                told.append(words(block.get("text")))
            elif block.get("type") == "tool_use":
                name = words(block.get("name"))
                self._tools[words(block.get("id"))] = name
                told.append(f"> {name} {summary(block.get('input'))}".rstrip())
        return told

    def _heard(self, event: Mapping[str, Json]) -> list[str]:
        told = []
        for block in rows(part(event.get("message"), "content")):
            if block.get("type") != "tool_result":
                continue
            name = self._tools.get(words(block.get("tool_use_id")), "tool")
            if block.get("is_error") is True:
                told.append(f"! {name}: {short(content(block.get('content')))}".rstrip())
            elif name in CHANGING or name.startswith("mcp__"):
                self.has_worked = True
        return told

    def _waits(self, event: Mapping[str, Json]) -> Sequence[str]:
        status, delay = int(number(event.get("error_status"))), number(event.get("retry_delay_ms")) / 1000
        said = f"the API answers {status or 'nothing'}; it is asked again in {delay:.1f} s"
        if status in LIMITS:
            self.limit = Limited(said, delay)
            if delay > PATIENCE:
                self._end(self.limit)
        return [f"[{said}]"]

    def _limited(self, info: Json) -> Sequence[str]:
        if part(info, "status") != "rejected":
            return []
        until = number(part(info, "resetsAt"))
        after = max(0.0, until - time.time()) if until else None
        self.limit = Limited(
            f"the limit {words(part(info, 'rateLimitType')) or 'of the account'} is used up", after
        )
        return [f"[{self.limit.reason}]"]

    def _count(self) -> None:
        read, written = self.counter.input_tokens, self.counter.output_tokens
        known: dict[str, Json] = {"model": self.model, "session_id": self.session}
        known = {name: value for name, value in known.items() if value is not None}
        self.tell({"tokens": read + written, "input_tokens": read, "output_tokens": written, **known})
        if self.tokens is not None and read + written >= self.tokens:
            self._end(Spent(f"it used {read + written} tokens, and may use {self.tokens}"))

    def _end(self, why: Stopped) -> None:
        if self.stopped is None:
            self.stopped = why
            self.stop()


def tokens_in(usage: Mapping[str, Json]) -> int:
    """Returns the tokens that were read, by the API's names: new ones, and those that caches took or had."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(int(number(usage.get(name))) for name in names)


def together(former: Mapping[str, Json], result: Mapping[str, Json]) -> Mapping[str, Json]:
    """Returns two results of one run as one: how it ended says the last; of costs that has but its own."""
    before, now = former.get("usage"), result.get("usage")
    names = before.keys() | now.keys() if isinstance(before, dict) and isinstance(now, dict) else ()
    usage: dict[str, Json] = {name: number(part(before, name)) + number(part(now, name)) for name in names}
    denials = [*rows(former.get("permission_denials")), *rows(result.get("permission_denials"))]
    output = result.get("structured_output")
    return {
        **result,
        "num_turns": number(former.get("num_turns")) + number(result.get("num_turns")),
        "usage": usage,
        "permission_denials": [dict(row) for row in denials],
        "structured_output": former.get("structured_output") if output is None else output,
    }


def ending(result: Mapping[str, Json]) -> str:
    """Returns the line that a result is in the story."""
    usd, turns = number(result.get("total_cost_usd")), int(number(result.get("num_turns")))
    how = "done" if result.get("is_error") is not True else f"not done ({trouble(result)})"
    return f"[{how}; {turns} turns, and it counts {usd:.4f} USD]"


def trouble(result: Mapping[str, Json]) -> str:
    """Returns what a result says went wrong, in one line."""
    errors = result.get("errors")
    said = " ".join(filter(None, map(words, errors))) if isinstance(errors, list) else ""
    return short(words(result.get("result")) or said or words(result.get("subtype")), 500)


def summary(given: Json) -> str:
    """Returns what is the most telling of a tool's input."""
    if not isinstance(given, dict) or not given:
        return ""
    found = next((given[name] for name in ARGUMENTS if isinstance(given.get(name), str)), None)
    return short(found if isinstance(found, str) else json.dumps(given, ensure_ascii=False))


def content(value: Json) -> str:
    """Returns the text of a tool's result."""
    return value if isinstance(value, str) else " ".join(words(row.get("text")) for row in rows(value))


def short(text: str, most: int = SHOWN) -> str:
    """Returns a text as one line, cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
