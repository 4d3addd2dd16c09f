"""One attempt, from its base to its verdict.

Whatever ends it (success, failure, timeout, a stop, an interruption), what it left in its slot is a commit
before the outcome is told, and the slot is given back only after the outcome is in the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import trio

from stratum_git.agents.base import (
    Agent,
    AgentFailed,
    AgentLimited,
    AgentSpent,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
)
from stratum_git.agents.base import Outcome as AgentOutcome
from stratum_git.agents.command import inherited
from stratum_git.agents.supervise import HolderKilled
from stratum_git.core.contest import author_id, number_of
from stratum_git.core.contract_schema import schema_for
from stratum_git.core.session_words import conversation
from stratum_git.dispatch import following
from stratum_git.dispatch.bases import Clash, base_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import DEFAULT_TIMEOUT, Context, UnknownAgentError
from stratum_git.dispatch.errand import Errand, Unclear, errand_for
from stratum_git.dispatch.judge import Finding, judge_output, judge_tree, run_commands
from stratum_git.dispatch.limits import Limits, OutOfPatience, work_patiently
from stratum_git.dispatch.names import branch_ref
from stratum_git.dispatch.readonly import intrusion, own_refs, profile_of
from stratum_git.dispatch.resolving import (
    Conflict,
    asked,
    author_of,
    conflict_at,
    put_in_place,
    unresolved,
)
from stratum_git.dispatch.reviewing import Inspection
from stratum_git.dispatch.spending import Funds, Meter
from stratum_git.dispatch.stack import shortcut
from stratum_git.dispatch.talking import note_conversation
from stratum_git.dispatch.withholding import hidden
from stratum_git.dispatch.workplace import Workplace, WorkplaceError, open_workplace
from stratum_git.git.objects import Signature
from stratum_git.git.planting import unmerged
from stratum_git.git.snapshot import Captured
from stratum_git.model.conversations import Conversation
from stratum_git.model.effects import Launch
from stratum_git.model.ids import Json, Oid
from stratum_git.model.messages import Completed, Halted, Lost, Outcome, Rejected
from stratum_git.model.spec import Command
from stratum_git.model.state import FannedOut, FlowState, Working


@dataclass
class Attempt:
    """An attempt under way. ``halt`` ends it for a reason; its work is kept."""

    context: Context
    state: FlowState
    launch: Launch
    on_line: Callable[[str], None]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    halted: str | None = None
    interrupted: bool = False
    workplace: Workplace | None = None
    by: str = "stratum-git"
    conflict: Conflict | None = None
    """What is to be resolved, and of which paths nothing was decided in the slot."""
    undecided: frozenset[str] = frozenset()
    meter: Meter = field(default_factory=Meter)
    funds: Callable[[], Funds] = Funds
    limits: Limits = field(default_factory=Limits)
    tell: Callable[[str], None] = lambda _: None
    starved: str | None = None
    """That there was no room for its agent, for so long that it gave up."""
    told: AgentOutcome | None = None
    talks: str | None = None
    """The conversation that its agent told, of a session."""
    bereft: str | None = None
    """What was killed that held the agent, or another command: nobody knows what it would have come to."""

    def halt(self, why: str) -> None:
        """Ends the attempt because its result is no longer wanted."""
        self.halted = why
        self.scope.cancel()

    def interrupt(self) -> None:
        """Ends the attempt because the whole run is being interrupted; it will be made again."""
        self.interrupted = True
        self.scope.cancel()

    async def run(self) -> Outcome:
        """Does the attempt and returns its outcome."""
        outcome: Outcome | None = None
        with self.scope:
            try:
                outcome = await self._run()
            except HolderKilled as error:
                self.bereft = error.message
        outcome = outcome if outcome is not None else await self._cut_short()
        if self.state.book.session is not None and self.told is not None:
            outcome = with_words(outcome, self.told)
        return hidden(self.context.secrets, outcome)

    def is_parting(self) -> bool:
        """Returns whether its slot is nobody's once it is given back."""
        return self.workplace is not None and self.workplace.is_parting()

    async def release(self) -> None:
        """Gives the slot back. Called after the outcome is in the repository."""
        if self.workplace is not None:
            with trio.CancelScope(shield=True):
                await self.context.git(self.workplace.close)

    async def _run(self) -> Outcome:
        session = self.state.book.session
        if session is not None and session.terms.review is not None:
            looks = Inspection(self.context, self.state, self.launch, self.on_line, session.terms.review)
            return await looks.run()
        errand = errand_for(self.state, self.launch)
        if isinstance(errand, Unclear):
            return Rejected("base", errand.why)
        try:
            resolves = self.launch.resolves is not None
            agent = self.context.agent_for(errand.step, errand.task, resolves=resolves)
        except UnknownAgentError as error:
            return Rejected("start", (error.message,))
        parked = self.launch.resolves
        if parked is not None:
            self.conflict = await self.context.git(
                partial(conflict_at, self.context, self.state, self.launch.step, parked)
            )
        if parked is not None and self.conflict is None:
            # Nothing conflicts any more, because of what came to the target meanwhile.
            return Completed(parked.base, parked.result, parked.output)
        base = self.conflict.base if self.conflict is not None else await self._base()
        on = None
        if not isinstance(base, Clash):
            before = conversation(self.state, base, self.launch.findings) or self.launch.goes_on
            on = await following.still_true(self.context, agent, before, base)
            base = base if on is None else on.base
        if isinstance(base, Clash):
            paths = ", ".join(base.paths)
            return Rejected("base", (f"the results it depends on conflict: {base.task} in {paths}",))
        try:
            opening = partial(open_workplace, self.context, self.state, self.launch, errand, base)
            self.workplace = await self.context.git(opening)
        except WorkplaceError as error:
            return Rejected("setup", (error.message,), base)
        return await self._in_workplace(agent, errand, base, self.workplace, on)

    async def _base(self) -> Oid | Clash:
        current = self.state.step(self.launch.step)
        if isinstance(current, FannedOut) and self.launch.task is not None:
            index = current.graph.index[self.launch.task]
            ready = shortcut(current, index)
            if ready is not None:
                return ready
            author = self._signature("stratum-git")
            work = partial(
                base_of, self.context.repo, self.context.merger, author, current, index, self.context.ladder
            )
            return await self.context.git(work)
        if isinstance(current, Working):
            return current.base
        raise AssertionError(f"{self.launch.step} is not at work")

    async def _in_workplace(
        self, agent: Agent, errand: Errand, base: Oid, place: Workplace, on: Conversation | None
    ) -> Outcome:
        unready = await self._run_commands(errand.setup, place, "setup")
        if unready is not None:
            return Rejected("setup", unready.lines, base)
        if self.conflict is not None:
            errand = await self.context.git(partial(self._planted, errand, self.conflict, place))
        if on is not None:
            await self.context.git(partial(following.put_in_place, self.context, on, place.path))
        self.by = f"agent {agent.name}"
        profile = profile_of(agent, errand.profile)
        looks = profile == "verification"
        refs = await self.context.git(partial(own_refs, self.context, self.state)) if looks else {}
        told = await self._work(agent, self._assignment(errand, base, place, on))
        if self.conflict is not None:
            self.undecided = await self.context.git(partial(unmerged, place.path))
        # What looks at the result, or works in the slot before it is recorded, wants it to be on the disk.
        held = not (looks or self.conflict or errand.wants.ensure or errand.wants.verify)
        taking = partial(self._taken, errand, base, place, told, held=held)
        captured, finding = await self.context.git(taking)
        if isinstance(told, OutOfPatience):
            self.starved = told.why
            return Lost(told.why, None if captured.result == base else captured.result, self.meter.usage())
        self.told = told
        changed = partial(intrusion, self.context, base, captured, refs, self.state)
        found = await self.context.git(changed) if looks else None
        if found is not None:
            outcome: Outcome = Rejected(found.kind, found.lines, base, captured.result)
        else:
            outcome = await self._verdict(errand, base, place, told, captured.result, finding)
        return following.to_go_on_with(agent, replace(outcome, usage=self.meter.usage()))

    async def _work(self, agent: Agent, assignment: Assignment) -> AgentOutcome | OutOfPatience:
        funds = self.funds()
        if funds.is_empty:
            return AgentSpent("nothing is left of the budget")
        timeouts = (assignment.timeout, funds.seconds)
        timeout = min((one for one in timeouts if one is not None), default=None)
        amounts = [one for one in (assignment.usd, funds.usd) if one is not None]
        assignment = replace(assignment, usd=min(amounts, default=None), tokens=funds.tokens, timeout=timeout)
        return await work_patiently(agent, assignment, self.meter, self.limits, self.tell, self.on_line)

    def _heard(self, place: Workplace, usage: Mapping[str, Json]) -> None:
        if self.state.book.session is not None:
            self.talks = note_conversation(place.folder, usage, self.talks)
        self.meter.tell(usage)

    def _planted(self, errand: Errand, conflict: Conflict, place: Workplace) -> Errand:
        """Puts the conflict into the slot; returns what is asked of whoever resolves it there."""
        put_in_place(self.context, conflict, place.path)
        return asked(self.context, self.state, errand, conflict, place.path, self.launch.findings)

    def _assignment(self, errand: Errand, base: Oid, place: Workplace, on: Conversation | None) -> Assignment:
        return Assignment(
            flow=self.state.flow,
            step=self.launch.step,
            task=None if errand.task is None else author_id(errand.task.id),
            attempt=self.launch.attempt,
            base=base,
            branch=branch_ref(self.state.flow, self.launch.step, self.launch.task),
            intent=following.intended(on, errand.prompt),
            slot=place.path,
            folder=place.folder,
            timeout=errand.timeout or DEFAULT_TIMEOUT,
            env=_environment(errand),
            guard=place.guard,
            session=None if on is None else on.session,
            followup=following.said(on, self.launch.findings),
            schema=schema_for(errand.wants.contract, errand.wants.schema),
            model=errand.model,
            profile=errand.profile,
            usd=errand.usd,
            meter=partial(self._heard, place),
        )

    async def _verdict(
        self,
        errand: Errand,
        base: Oid,
        place: Workplace,
        told: AgentOutcome,
        result: Oid,
        finding: Finding | None,
    ) -> Outcome:
        finding = finding or await self._run_commands(errand.wants.verify, place, "verify")
        if finding is not None:
            return Rejected(finding.kind, finding.lines, base, result)
        return Completed(base, result, self._output(told))

    def _output(self, told: AgentOutcome) -> Json:
        if self.conflict is not None:
            return self.conflict.parked.output
        return told.output if isinstance(told, Finished) else None

    def _taken(
        self, errand: Errand, base: Oid, place: Workplace, told: AgentOutcome | OutOfPatience, *, held: bool
    ) -> tuple[Captured, Finding | None]:
        """Captures what was left, and judges it: both in one thread, since each takes one to begin."""
        captured = self._capture(place, base, held=held)
        if isinstance(told, OutOfPatience):
            return captured, None
        failure = _failure(told)
        return captured, failure or self._judged(errand, base, place, captured, self._output(told))

    def _judged(
        self, errand: Errand, base: Oid, place: Workplace, captured: Captured, output: Json
    ) -> Finding | None:
        """Returns why what was left cannot count, as far as that is known without running anything."""
        repo, result = self.context.repo, captured.result
        finding = place.violation() or judge_tree(repo, base, captured, errand.wants)
        if finding is None and self.conflict is not None:
            finding = unresolved(self.context, self.conflict, result, self.undecided)
        return finding or judge_output(repo, result, output, errand.wants)

    async def _run_commands(
        self, commands: Sequence[Command], place: Workplace, kind: Literal["setup", "verify"]
    ) -> Finding | None:
        if not commands:
            return None
        environment = place.guard(inherited(self.context.environment))
        return await run_commands(environment, commands, place.path, place.folder, kind, self.context.secrets)

    async def _cut_short(self) -> Outcome:
        """Saves the work of an attempt that was ended from outside."""
        result: Oid | None = None
        place = self.workplace
        if place is not None:
            with trio.CancelScope(shield=True):
                captured = await self.context.git(partial(self._capture, place, place.base))
                result = None if captured.result == place.base else captured.result
        if self.halted is not None and not self.interrupted:
            return Halted(self.halted, result, self.meter.usage())
        return Lost(self.bereft or "the run was interrupted", result, self.meter.usage())

    def _capture(self, place: Workplace, base: Oid, *, held: bool = False) -> Captured:
        name = str(self.launch.task or self.launch.step)
        message = f"{name}: attempt {self.launch.attempt}\n\nWhat {self.by} left uncommitted.\n"
        who = self._signature(None)
        if self.conflict is not None:
            who = replace(author_of(self.context, self.conflict.parked), at=who.at, tz=who.tz)
        return place.capture(base, message, who, held=held)

    def _signature(self, name: str | None) -> Signature:
        who = self.context.identity
        return Signature(name or who.name, who.email, now(), who.tz)


def with_words(outcome: Outcome, told: AgentOutcome) -> Outcome:
    """Returns the outcome of a session's attempt with what its agent said."""
    if not isinstance(outcome, Completed | Rejected) or not isinstance(told, Finished):
        return outcome
    return replace(outcome, text=told.text_tail)


def _environment(errand: Errand) -> dict[str, str]:
    """Returns what an attempt adds to its agent's environment."""
    number = None if errand.task is None else number_of(errand.task.id)
    found = {} if errand.model is None else {"STRATUM_MODEL": errand.model}
    return found if number is None else {**found, "STRATUM_CANDIDATE": str(number)}


def _failure(told: AgentOutcome) -> Finding | None:
    match told:
        case Finished():
            return None
        case AgentFailed(reason=reason) | AgentLimited(reason=reason):
            return Finding("agent", (reason,))
        case AgentSpent(reason=reason):
            return Finding("budget", (reason,))
        case AgentTimedOut(after=after):
            return Finding("timeout", (f"still at work after {after:g} s",))
        case AgentUnstartable(reason=reason):
            return Finding("start", (reason,))
