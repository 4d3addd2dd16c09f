"""Waiting for room at a model's server, which is no failure of whoever waits.

An attempt that is refused for lack of room stays in its slot, waits, and goes on in its conversation. All
attempts of the same agent learn of it: nobody starts meanwhile, and when the time is over one looks whether
there is room again before the others do. Who has waited for an hour in all gives up; what becomes of the
flow then is the driver's to say.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from stratum_git.agents.base import Agent, AgentLimited, AgentTimedOut, AgentUnstartable, Assignment
from stratum_git.agents.base import Outcome as AgentOutcome
from stratum_git.dispatch.following import resumes
from stratum_git.dispatch.spending import Meter

PATIENCE = 3600.0
"""Seconds that an attempt waits in all."""
FIRST = 5.0
LONGEST = 300.0
"""Seconds between two looks, where nobody told when to come again: at first, and at most."""
SPREAD = 0.25
"""The part of a wait by which attempts come apart that were refused together."""
SETTLED = 20.0
"""Seconds that one call has to have gone on until it counts as room for the others."""
GO_ON = (
    "The model's server had no room for a while, and has again. Go on where you were. Your work so far is in "
    "the slot as you left it.\n"
)


@dataclass(frozen=True, slots=True)
class OutOfPatience:
    """There was no room for so long that the attempt gives up; it has not failed."""

    why: str


@dataclass
class Limiter:
    """Whether there is room for one agent's calls. With ``refusals`` there was none when somebody looked."""

    refusals: int = 0
    reason: str = ""
    until: float = 0.0
    looking: object | None = None
    changed: trio.Event = field(default_factory=trio.Event)

    def tell(self) -> None:
        """Wakes whoever waits."""
        self.changed.set()
        self.changed = trio.Event()

    async def room(self, who: object, deadline: float) -> bool:
        """Returns whether *who* may call: there is room, or it is the one that looks whether there is.

        It may not when that will not be before the *deadline*; nobody waits for it then.
        """
        while self.refusals:
            if max(self.until, trio.current_time()) > deadline:
                return False
            if trio.current_time() < self.until:
                with trio.move_on_at(self.until):
                    await self.changed.wait()
            elif self.looking is None:
                self.looking = who
                return True
            else:
                with trio.move_on_after(SETTLED) as gone:
                    await self.changed.wait()
                if gone.cancelled_caught:
                    # Whoever looks is still at it, so there is room.
                    self.found()
        return True

    def found(self) -> None:
        """Notes that there is room."""
        if self.refusals:
            self.refusals, self.looking = 0, None
            self.tell()

    def refused(self, after: float | None, who: object, reason: str) -> float:
        """Notes that there was no room for *who*; returns the seconds until somebody is to look again."""
        # Others that were refused at the same time do not make it worse.
        if self.looking is who or not self.refusals:
            self.refusals += 1
        self.reason = reason
        wait = after if after is not None else min(LONGEST, FIRST * 2 ** (self.refusals - 1))
        self.until = max(self.until, trio.current_time() + wait)
        self.looking = None if self.looking is who else self.looking
        self.tell()
        return self.until - trio.current_time()

    def left(self, who: object) -> None:
        """Notes that *who* does not call any more."""
        if self.looking is who:
            self.looking = None
            self.tell()


@dataclass
class Limits:
    """The limiters of a run, by the names of agents. ``patience`` is in seconds."""

    patience: float = PATIENCE
    agents: dict[str, Limiter] = field(default_factory=dict)

    def of(self, agent: Agent) -> Limiter:
        """Returns the limiter of an agent."""
        return self.agents.setdefault(agent.name, Limiter())


async def work_patiently(
    agent: Agent,
    assignment: Assignment,
    meter: Meter,
    limits: Limits,
    tell: Callable[[str], None],
    on_line: Callable[[str], None],
) -> AgentOutcome | OutOfPatience:
    """Has *agent* do an attempt, in several calls where there is no room; waiting costs no time of it.

    *tell* is told the first time that there is none.
    """
    limiter, who, refused = limits.of(agent), object(), 0
    while True:
        with meter.pausing():
            may = await limiter.room(who, trio.current_time() + limits.patience - meter.waited)
        if not may:
            wait = limiter.until - trio.current_time()
            return OutOfPatience(_given_up(agent, limits.patience, limiter.reason, wait))
        told = await _call(agent, _in_time(assignment, meter), meter, limiter, who, on_line)
        if not isinstance(told, AgentLimited):
            return told
        why = told.reason.removeprefix(f"{agent.name}: ")
        wait = limiter.refused(told.after, who, why)
        wait += wait * SPREAD * _share(assignment, refused)
        if meter.waited + wait > limits.patience:
            return OutOfPatience(_given_up(agent, limits.patience, why, wait))
        if not refused:
            tell(f"{agent.name}: the model's server has no room ({why}): again in {wait:.0f} s")
        refused += 1
        with meter.pausing():
            await trio.sleep(wait)
        assignment = _going_on(agent, assignment, told)


async def _call(
    agent: Agent,
    assignment: Assignment,
    meter: Meter,
    limiter: Limiter,
    who: object,
    on_line: Callable[[str], None],
) -> AgentOutcome:
    if assignment.timeout is not None and assignment.timeout <= 0:
        limiter.left(who)
        return AgentTimedOut(meter.at_work())
    meter.begin()
    try:
        told = await agent.run(assignment, on_line)
    except BaseException:
        # What it costs to save its work is not its own.
        meter.end({})
        limiter.left(who)
        raise
    if isinstance(told, AgentUnstartable):
        meter.drop()
    else:
        meter.end(told.usage)
    if not isinstance(told, AgentLimited):
        limiter.found()
    return told


def _in_time(assignment: Assignment, meter: Meter) -> Assignment:
    """Returns the assignment with what is left of its time."""
    if assignment.timeout is None:
        return assignment
    return replace(assignment, timeout=assignment.timeout - meter.at_work())


def _going_on(agent: Agent, assignment: Assignment, told: AgentLimited) -> Assignment:
    session = told.usage.get("session_id")
    if not isinstance(session, str) or not resumes(agent):
        return assignment
    return replace(assignment, session=session, followup=GO_ON)


def _share(assignment: Assignment, refused: int) -> float:
    """Returns a number from 0 to 1 that is another one for each attempt, and the same each time."""
    name = f"{assignment.flow}/{assignment.step}/{assignment.branch}/{assignment.attempt}/{refused}"
    return zlib.crc32(name.encode()) / 0xFFFFFFFF


def _given_up(agent: Agent, patience: float, reason: str, wait: float) -> str:
    why = f" ({reason})"
    if wait > patience:
        return f"{agent.name}: the model's server has no room{why} for another {wait / 60:.0f} minutes"
    return f"{agent.name}: the model's server had no room{why} for {patience / 60:.0f} minutes"
