"""Clients that tell what they do as lines of JSON, and note what it costs: what is the same for all of them.

While one runs, its costs are looked at: when it has used what its attempt may cost, it is ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from stratum_git.agents.answers import Answer, BadAnswer
from stratum_git.agents.base import (
    AgentFailed,
    AgentSpec,
    AgentSpent,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.command import TEXT, Program, answer_of, failure, result_file
from stratum_git.agents.output import plain, plain_text
from stratum_git.agents.stream import event_of
from stratum_git.agents.supervise import Exit, Exited, Unstartable
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

PAUSE = 1.0
"""Seconds between two looks at what a client notes elsewhere."""
SCHEMA = """
When you are done, end your last message with one JSON object that fits this JSON Schema. Let it begin on a
line of its own, and write nothing after it.

{schema}
"""


class Ear(Protocol):
    """Understands what one client tells in one attempt."""

    @property
    def said(self) -> str:
        """Returns what it said last."""

    @property
    def done(self) -> bool:
        """Returns whether it told that it came to an end by itself."""

    @property
    def trouble(self) -> str:
        """Returns what it told of why it failed; an empty text if it did not."""

    def hear(self, event: Mapping[str, Json]) -> str:
        """Takes in an event; returns what of it a person may want to see."""

    def look(self) -> None:
        """Looks at what the client notes elsewhere; called in a thread."""

    def usage(self) -> dict[str, Json]:
        """Returns what is known of the costs by now, in the words of ``Finished.usage``."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The client was ended here: it had ``spent`` what it may, or was not done after as many turns."""

    reason: str
    spent: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What an attempt may cost at most; ``None`` is no limit."""

    turns: int | None = None
    usd: float | None = None
    tokens: int | None = None

    def reached(self, usage: Mapping[str, Json]) -> str | None:
        """Returns which limit is reached, as a sentence without its subject."""
        for limit, name in ((self.usd, "usd"), (self.tokens, "tokens")):
            used = usage.get(name)
            if limit is not None and isinstance(used, int | float) and used >= limit:
                return f"has used {used:g} {name} of {limit:g}"
        return None

    def overlong(self, usage: Mapping[str, Json]) -> bool:
        """Returns whether an attempt that is not done has had all the turns that it may have."""
        used = usage.get("turns")
        return self.turns is not None and isinstance(used, int) and used >= self.turns


def lost(assignment: Assignment) -> str:
    """Returns that the conversation that was to go on is gone."""
    return f"the conversation {assignment.session} is not there any more; a new one begins"


def limits_of(spec: AgentSpec, assignment: Assignment) -> Limits:
    """Returns the limits of an attempt: the lower ones of its agent and its own."""
    usd = [limit for limit in (spec.usd, assignment.usd) if limit is not None]
    return Limits(spec.turns, min(usd, default=None), assignment.tokens)


async def converse(
    program: Program,
    command: Sequence[str],
    assignment: Assignment,
    on_line: Callable[[str], None],
    *,
    prompt: str,
    ear: Ear,
    first: str = "",
) -> Exit | Stopped:
    """Runs a client to its end, or to its limits; *first* is what its log begins with.

    Raises HostError when this machine cannot.
    """
    attention = _Attention(assignment, limits_of(program.spec, assignment), ear, first)
    ended: Exit | None = None
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attention.watch)
            with attention.limit:
                ended = await program.run(command, assignment, on_line, prompt=prompt, reads=attention.read)
            nursery.cancel_scope.cancel()
    except* HostError as group:
        # As whoever asks for an attempt knows them: alone. A holder that was killed is one.
        failure = group.exceptions[0]
    if failure is not None:
        raise failure
    await trio.to_thread.run_sync(ear.look)
    return ended if ended is not None else attention.stopped or Stopped("was ended", spent=False)


class _Attention:
    """Listens to one client, and ends it where it must not go on."""

    def __init__(self, assignment: Assignment, limits: Limits, ear: Ear, first: str) -> None:
        self._first = [first] if first else []
        self.limit = trio.CancelScope()
        self.stopped: Stopped | None = None
        self._meter, self._limits, self._ear = assignment.meter, limits, ear
        self._metered: dict[str, Json] = {}

    def read(self, line: bytes) -> Sequence[str]:
        """Reads a line; what is none of the client's events is told as it is."""
        event, first = event_of(line), self._first
        self._first = []
        if event is None:
            return [*first, plain(line)]
        said = self._ear.hear(event)
        self._weigh()
        return [*first, *plain_text(said.encode("utf-8", "replace")).splitlines()]

    async def watch(self) -> None:
        while True:
            await trio.sleep(PAUSE)
            await trio.to_thread.run_sync(self._ear.look)
            self._weigh()

    def _weigh(self) -> None:
        usage = self._ear.usage()
        if usage == self._metered or "tokens" not in usage:
            return
        self._metered = usage
        if self._meter is not None:
            self._meter(usage)
        reached = self._limits.reached(usage)
        if self._ear.done:
            return
        if reached is not None:
            self.stopped = Stopped(reached, spent=True)
        elif self._limits.overlong(usage):
            self.stopped = Stopped(f"was not done after {self._limits.turns} turns", spent=False)
        if self.stopped is not None:
            self.limit.cancel()


def prompt_of(assignment: Assignment, *, asks_for_object: bool) -> str:
    """Returns what is said to a client: the whole intent, or what follows in a conversation that goes on."""
    said = assignment.intent
    if assignment.session is not None and assignment.followup is not None:
        said = assignment.followup
    if not asks_for_object or assignment.schema is None:
        return said
    return f"{said.rstrip()}\n{SCHEMA.format(schema=json.dumps(assignment.schema, indent=2))}"


async def outcome_of(
    program: Program, command: Sequence[str], assignment: Assignment, ended: Exit | Stopped, ear: Ear
) -> Outcome:
    """Returns what came of a client, by its end and what it told. Its answer is the last object it said."""
    name, usage = program.spec.name, ear.usage()
    trouble = program.hide.hidden_text(ear.trouble)
    match ended:
        case Stopped(reason=reason, spent=True):
            return AgentSpent(f"{name} {reason}", usage=usage)
        case Stopped(reason=reason):
            return AgentFailed(f"{name} {reason}", usage=usage)
        case Unstartable():
            return program.unstartable(ended, command[0], assignment.slot)
        case Exited(code=code, seconds=seconds) if trouble:
            return AgentFailed(f"{name}: {trouble}", code, seconds, usage)
        case Exited(code=0, seconds=seconds) if not ear.done:
            return AgentFailed(f"{name} ended without saying that it was done", 0, seconds, usage)
        case Exited(code=0):
            return await _finished(program, assignment, ended, ear)
        case other:
            return failure(name, other, usage)


async def _finished(program: Program, assignment: Assignment, ended: Exited, ear: Ear) -> Outcome:
    said = ear.said.encode("utf-8", "replace")
    match await answer_of(result_file(assignment), said, program.hide):
        case BadAnswer(reason=reason):
            return AgentFailed(f"{program.spec.name}: {reason}", ended.code, ended.seconds, ear.usage())
        case Answer(value=None) if assignment.schema is not None:
            reason = "it did not return the object that was asked for"
            return AgentFailed(f"{program.spec.name}: {reason}", ended.code, ended.seconds, ear.usage())
        case Answer(value=value):
            text = program.hide.hidden_text(plain_text(said[-TEXT:]))
            return Finished(value, ear.usage(), text, ended.seconds)
