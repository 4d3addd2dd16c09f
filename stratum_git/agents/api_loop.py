"""An attempt of a model behind an API: it is asked, does what it asks for with the tools, and is asked again.

It ends when the model says nothing that is to be done, or hands in the object that is wanted; and at its
limits. Each message is kept before the next one is asked for (``transcript.py``), so that whatever ends an
attempt, a later one can go on with the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import trio

from stratum_git.agents.answers import Answer, BadAnswer
from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpent,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
    Profile,
)
from stratum_git.agents.command import TEXT, Program, answer_of, result_file
from stratum_git.agents.conversing import Limits, limits_of, lost
from stratum_git.agents.model_api import Answered, Broken, Full, Model, Refusal, Reply, Tokens
from stratum_git.agents.output import LogFile, plain, plain_text
from stratum_git.agents.prices import price_of
from stratum_git.agents.slot_tools import Runner, Said, SlotTools, tools_of
from stratum_git.agents.stream import rows, words
from stratum_git.agents.transcript import Transcript, begun, gone_on, result, text
from stratum_git.core.schema import schema_breaches
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

TURNS = 200
"""Turns of an attempt for which nothing else is said."""
REMINDERS = 2
LOG_LIMIT = 64 * 1024 * 1024
SHOWN = 2000
"""Characters of what a tool came to that the log has."""
SUBMIT = "submit"
SUBMITS = "Hands in the result, once everything is done. What it takes is what is wanted of you."
REMINDER = f"You have not called {SUBMIT}: do what is left to do, and hand in the result with it."
GO_ON = "That was cut off at the length that an answer may have. Go on, in smaller pieces."
COMBINED = ("oneOf", "anyOf", "allOf")
WRAPPED = "result"
SYSTEM = """\
You are a software engineer who does one task alone, in a checkout of its own at {slot}. Nobody can answer a
question while you are at it: decide, and say in the end what you decided. Your tools reach the files below
that directory; name them from there. {profile}
Before you change something, read it. When you are done, say in a few sentences what you did."""
PROFILES: Mapping[Profile, str] = {
    "general": "Do all of the work in files there: what you only say is lost.",
    "verification": "You look, and judge what you see. You can change nothing.",
}


async def attempt(
    program: Program, assignment: Assignment, on_line: Callable[[str], None], model: Model
) -> Outcome:
    """Does one attempt, within its time. Raises HostError when this machine cannot."""
    limit = assignment.timeout if assignment.timeout is not None else program.spec.timeout
    started = trio.current_time()
    talk = await trio.to_thread.run_sync(_talk, program, assignment, on_line, model)
    try:
        with trio.CancelScope() as scope:
            scope.deadline = started + (float("inf") if limit is None else limit)
            outcome = await talk.run()
            return _lasting(outcome, trio.current_time() - started)
        return AgentTimedOut(limit or 0.0, talk.usage())
    finally:
        talk.log.close()
        program.settle(assignment)


def _lasting(outcome: Outcome, seconds: float) -> Outcome:
    match outcome:
        case Finished() | AgentFailed() | AgentLimited() | AgentSpent():
            return replace(outcome, seconds=seconds)
        case other:
            return other


@dataclass
class _Talk:
    """A conversation under way."""

    program: Program
    assignment: Assignment
    on_line: Callable[[str], None]
    model: Model
    transcript: Transcript
    tools: SlotTools
    log: LogFile
    wanted: str
    """The model that is asked."""
    limits: Limits
    tokens: Tokens = field(default_factory=Tokens)
    usd: float | None = 0.0
    turns: int = 0
    reminders: int = 0
    answered_by: str | None = None
    submitted: Json = None

    @property
    def name(self) -> str:
        return self.program.spec.name

    async def run(self) -> Outcome:
        while True:
            reached = self.limits.reached(self.usage())
            if reached is not None:
                return AgentSpent(f"{self.name} {reached}", usage=self.usage())
            if self.limits.overlong({"turns": self.turns}):
                return self._failed(f"it was not done after {self.turns} turns")
            outcome = await self._turn()
            if outcome is not None:
                return outcome

    def usage(self) -> dict[str, Json]:
        """Returns the costs by now, in the words of ``Finished.usage``."""
        spent = self.tokens
        incoming = spent.incoming + spent.written + spent.read
        found: dict[str, Json] = {"session_id": self.transcript.session}
        found["model"] = self.answered_by or self.wanted
        if self.turns:
            found |= {"tokens": incoming + spent.outgoing, "turns": self.turns}
            found |= {"input_tokens": incoming, "output_tokens": spent.outgoing}
            found |= {} if self.usd is None else {"usd": round(self.usd, 9)}
        return found

    async def _turn(self) -> Outcome | None:
        """Asks once and does what is asked for; returns the outcome when that was the end."""
        profile = self.assignment.profile or self.program.spec.profile
        system = SYSTEM.format(slot=self.assignment.slot, profile=PROFILES[profile])
        tools = [*self.tools.described(), *self._submits()]
        answered: Answered = await self.model.ask(self.wanted, system, self.transcript.messages, tools)
        match answered:
            case Reply():
                self._count(answered)
                await trio.to_thread.run_sync(self.transcript.answered, answered.content or [text("-")])
                return await self._follow(answered)
            case Full(reason=reason, after=after):
                return AgentLimited(f"{self.name}: {self._clean(reason)}", after, usage=self.usage())
            case Refusal(status=401 | 403 | 404, reason=reason):
                return AgentUnstartable(f"{self.name}: the API refuses it: {self._clean(reason)}")
            case Refusal(reason=reason):
                # Whoever went on with this conversation would be refused again.
                usage = {name: value for name, value in self.usage().items() if name != "session_id"}
                return AgentFailed(f"{self.name}: the API refuses it: {self._clean(reason)}", usage=usage)
            case Broken(reason=reason):
                return self._failed(self._clean(reason))

    def _count(self, reply: Reply) -> None:
        self.turns += 1
        self.tokens += reply.tokens
        self.answered_by = reply.model or self.answered_by
        price, spent = price_of(reply.model) or price_of(self.wanted), reply.tokens
        if price is None:
            self.usd = None
        elif self.usd is not None:
            self.usd += price.of(spent.incoming, spent.outgoing, spent.written, spent.read)
        if self.assignment.meter is not None:
            self.assignment.meter(self.usage())

    async def _follow(self, reply: Reply) -> Outcome | None:
        uses = []
        for block in rows(list(reply.content)):
            if block.get("type") == "text":
                self._tell(words(block.get("text")))
            elif block.get("type") == "tool_use":
                uses.append(block)
        reached = self.limits.reached(self.usage())
        if reached is not None and any(words(block.get("name")) != SUBMIT for block in uses):
            return AgentSpent(f"{self.name} {reached}", usage=self.usage())
        if uses:
            await self._use_all(uses, cut=reply.stop == "max_tokens")
            return None if self.submitted is None else await self._finished()
        match reply.stop:
            case "max_tokens":
                await self._say(GO_ON)
            case "pause_turn":
                return None
            case "end_turn" | "stop_sequence" | "tool_use" if self.assignment.schema is None:
                return await self._finished()
            case "end_turn" | "stop_sequence" | "tool_use" if self.reminders < REMINDERS:
                self.reminders += 1
                await self._say(REMINDER)
            case "end_turn" | "stop_sequence" | "tool_use":
                return self._failed("it did not return the object that was asked for")
            case "refusal":
                return self._failed("the model refuses to do this")
            case other:
                return self._failed(f"the model stopped because of {other or 'nothing that was told'}")
        return None

    async def _use_all(self, uses: list[Mapping[str, Json]], *, cut: bool) -> None:
        results = []
        for number, block in enumerate(uses, 1):
            name, given = words(block.get("name")), block.get("input")
            if cut and number == len(uses):
                said = Said(GO_ON, wrong=True)
            else:
                said = await self._use(name, given if isinstance(given, dict) else {})
            clean = self.program.hide.hidden_text(said.text)
            self._write(clean if len(clean) <= SHOWN else f"{clean[:SHOWN]} [...]")
            results.append(result(words(block.get("id")), clean or "done", wrong=said.wrong))
        await trio.to_thread.run_sync(self.transcript.say, results)

    async def _use(self, name: str, given: Mapping[str, Json]) -> Said:
        if name != SUBMIT or self.assignment.schema is None:
            self._tell(f"$ {given.get('command')}" if name == "run" else f"{name} {given.get('path', '')}")
            return await self.tools.use(name, given)
        self._tell("hands in the result")
        schema = self.assignment.schema
        value: Json = given.get(WRAPPED) if _is_wrapped(schema) else dict(given)
        breaches: tuple[str, ...] = ()
        if isinstance(schema, dict):
            breaches = await trio.to_thread.run_sync(schema_breaches, schema, value)
        if breaches or not isinstance(value, dict):
            return Said("\n".join(breaches) or "it is not an object", wrong=True)
        self.submitted = value
        return Said("done")

    def _submits(self) -> list[Json]:
        schema = self.assignment.schema
        if schema is None:
            return []
        if _is_wrapped(schema):
            schema = {"type": "object", "properties": {WRAPPED: schema}, "required": [WRAPPED]}
        elif isinstance(schema, dict):
            named = {name: value for name, value in schema.items() if name != "$schema"}
            schema = {**named, "type": "object"}
        return [{"name": SUBMIT, "description": SUBMITS, "input_schema": schema}]

    async def _finished(self) -> Outcome:
        hide, said = self.program.hide, self.transcript.last_said()
        tail = hide.hidden_text(plain_text(said.encode("utf-8", "replace")[-TEXT:]))
        if self.submitted is not None:
            return Finished(hide.hidden_json(self.submitted), self.usage(), tail)
        match await answer_of(result_file(self.assignment), said.encode("utf-8", "replace"), hide):
            case BadAnswer(reason=reason):
                return self._failed(reason)
            case Answer(value=value):
                return Finished(value, self.usage(), tail)

    async def _say(self, words_said: str) -> None:
        await trio.to_thread.run_sync(self.transcript.say, [text(words_said)])

    def _failed(self, reason: str) -> AgentFailed:
        return AgentFailed(f"{self.name}: {reason}", usage=self.usage())

    def _clean(self, reason: str) -> str:
        return plain(self.program.hide.hidden_text(reason).encode("utf-8", "replace"))

    def _tell(self, said: str) -> None:
        clean = self.program.hide.hidden_text(said)
        self._write(clean)
        line = next((plain(row.encode("utf-8", "replace")) for row in reversed(clean.splitlines())), "")
        if line:
            self.on_line(line)

    def _write(self, clean: str) -> None:
        try:
            self.log.add(plain_text(clean.encode("utf-8", "replace")).encode("utf-8", "replace") + b"\n")
        except OSError as error:
            raise HostError(f"the log cannot be written: {error.strerror}") from error


def _talk(program: Program, given: Assignment, on_line: Callable[[str], None], model: Model) -> _Talk:
    """Returns the conversation of an attempt, with what is said first in it; works on files."""
    found = None if given.session is None else gone_on(given.folder, given.session, program.hide)
    said = given.intent if found is None else given.followup or given.intent
    program.prepare(given, said)
    profile = given.profile or program.spec.profile
    runner = Runner(given.slot, program.surroundings(given), given.folder / "run.log", program.hide, on_line)
    try:
        log = LogFile(given.folder / "output.log", LOG_LIMIT, goes_on=True)
    except OSError as error:
        raise HostError(f"the log cannot be made: {error}") from error
    limits = limits_of(program.spec, given)
    made = _Talk(
        program=program,
        assignment=given,
        on_line=on_line,
        model=model,
        transcript=found or begun(given.folder, program.hide),
        tools=SlotTools(tools_of(profile, program.spec.tools), runner),
        log=log,
        wanted=given.model or "",
        limits=limits if limits.turns is not None else replace(limits, turns=TURNS),
    )
    if given.session is not None and found is None:
        made._tell(lost(given))  # noqa: SLF001 - its own module
    made.transcript.say([*made.transcript.unanswered(), text(said)])
    return made


def _is_wrapped(schema: Json) -> bool:
    """Returns whether the API would not take *schema* for what a tool is given."""
    return isinstance(schema, dict) and any(name in schema for name in COMBINED)
