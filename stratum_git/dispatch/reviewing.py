"""Looks at a commit: runs the commands on it, then has a reviewer read it who may change nothing.

Commands and reviewer have slots of their own, at the very commit: what a command leaves behind is not what
the reviewer reads, and neither is where the work was done. What comes of it is the attempt's output.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

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
from stratum_git.agents.output import plain, plain_text
from stratum_git.agents.supervise import (
    Exit,
    Exited,
    HolderKilled,
    Signalled,
    TimedOut,
    Unstartable,
    supervise,
)
from stratum_git.core import reviews
from stratum_git.core.reviews import CommandRun, Heard, Said, Silent, Unintelligible
from stratum_git.dispatch.checks import CANNOT_TELL
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import DEFAULT_TIMEOUT, NOBODY, Context, UnknownAgentError
from stratum_git.dispatch.errand import Errand, Unclear, errand_for
from stratum_git.dispatch.judge import VERIFY_TIMEOUT, shown
from stratum_git.dispatch.keeping import keep, ref_of
from stratum_git.dispatch.names import branch_ref
from stratum_git.dispatch.readonly import intrusion, own_refs
from stratum_git.dispatch.workplace import SlotPlace, open_workplace
from stratum_git.errors import BugError, StratumError
from stratum_git.git.diff import changed_paths, patch
from stratum_git.git.fence import Post
from stratum_git.git.objects import Signature
from stratum_git.git.refs import RefUpdate, tip_nowait, transact
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.effects import Launch
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.messages import Completed, Outcome, Rejected
from stratum_git.model.sessions import ReviewTask
from stratum_git.model.spec import Command
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot

NOT_THERE = frozenset({126, 127})
"""Exit codes with which a shell says that a program cannot be run, or is not there."""
SIGNALLED = frozenset(range(129, 129 + 64))
"""Exit codes that tell, in a shell, that what it ran was ended by a signal. 255 is a failure as any other."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One attempt at a verification."""

    context: Context
    state: FlowState
    launch: Launch
    say: Callable[[str], None]
    task: ReviewTask

    async def run(self) -> Outcome:
        """Looks, and returns what came of it; ``output`` is the report of :mod:`stratum_git.core.reviews`."""
        errand = errand_for(self.state, self.launch)
        if isinstance(errand, Unclear):
            return Rejected("base", errand.why)
        runs = await self._commands()
        heard = None
        if not reviews.is_decided(runs) and self.task.agent not in {None, NOBODY}:
            heard = await self._reviewed(errand, runs)
        told = reviews.report(self.task, runs, heard)
        return Completed(self.task.commit, self.task.commit, told)

    # --- commands -----------------------------------------------------------------------------------------

    async def _commands(self) -> list[CommandRun]:
        if not self.task.commands:
            return []
        context, who = self.context, self._occupant()
        folder = context.folders.attempt(self.state.flow, self.launch.step, None, self.launch.attempt)
        opening = partial(context.pool.borrow, base=self.task.commit, occupant=who)
        try:
            slot = await context.git(opening)
        except StratumError as error:
            first = shown(self.task.commands[0])
            return [CommandRun(first, "could_not_run", f"had no slot: {error.message}", again=True)]
        runs: list[CommandRun] = []
        try:
            for number, command in enumerate(self.task.commands, 1):
                self.say(f"runs {shown(command)}")
                runs.append(await self._command(slot, folder, number, command))
        finally:
            with trio.CancelScope(shield=True):
                await context.git(partial(context.pool.release, slot))
        return runs

    async def _command(self, slot: Slot, folder: Path, number: int, command: Command) -> CommandRun:
        post = Post(slot.path, git_dir_of(slot.path))
        environment = self.context.fence.around(inherited(self.context.environment), post)
        began = trio.current_time()
        terms = self.state.book.session
        limit = VERIFY_TIMEOUT if terms is None or terms.terms.timeout is None else terms.terms.timeout
        try:
            ended = await supervise(
                command,
                cwd=slot.path,
                env=environment,
                log=folder / f"review-{number}.log",
                timeout=limit,
                hide=self.context.secrets,
            )
        except HolderKilled as error:
            return CommandRun(shown(command), "could_not_run", error.message, again=True)
        seconds = trio.current_time() - began
        run = _run_of(shown(command), ended)
        tail = self.context.secrets.hidden_text(_tail(ended))
        return replace(run, seconds=seconds, tail=tail)

    # --- the reviewer -------------------------------------------------------------------------------------

    async def _reviewed(self, errand: Errand, runs: list[CommandRun]) -> Heard:
        context = self.context
        try:
            agent = context.agent_for(errand.step, None)
        except UnknownAgentError as error:
            return Silent(error.message, again=False)
        problem = agent.problem()
        if problem is not None:
            return Silent(problem, again=False)
        try:
            opening = partial(open_workplace, context, self.state, self.launch, errand, self.task.commit)
            place = await context.git(opening)
        except StratumError as error:
            return Silent(error.message, again=True)
        if not isinstance(place, SlotPlace):
            raise BugError("a reviewer has no slot")
        try:
            return await self._asked(agent, errand, runs, place)
        except HolderKilled as error:
            return Silent(error.message, again=True)
        finally:
            with trio.CancelScope(shield=True):
                await context.git(partial(self._left, place))

    async def _asked(self, agent: Agent, errand: Errand, runs: list[CommandRun], place: SlotPlace) -> Heard:
        context = self.context
        prompt = await context.git(partial(self._prompt, runs))
        refs = await context.git(partial(own_refs, context, self.state))
        told = await agent.run(self._assignment(errand, prompt, place), self.say)
        intruded = await context.git(partial(self._looked_after, place, refs))
        return _heard(told, intruded)

    def _left(self, place: SlotPlace) -> None:
        """Gives the reviewer's place back, and its branch, of which nothing was to come."""
        place.close()
        tip = tip_nowait(self.context.repo, place.slot.branch)
        if tip == self.task.commit:
            update = RefUpdate(place.slot.branch, None, tip)
            transact(self.context.repo, [update], message="stratum-git", durable=False)

    def _prompt(self, runs: list[CommandRun]) -> str:
        repo, task = self.context.repo, self.task
        text = patch(repo, task.base, task.commit).decode("utf-8", "replace")
        changed = changed_paths(repo, task.base, task.commit)
        paths = [plain(os.fsencode(change.path)) for change in changed]
        # The id of the verification is not known to whoever did the work, and the digest tells less still.
        mark = hashlib.sha256(f"{self.state.flow} {task.commit}".encode()).hexdigest()[:16]
        return reviews.review_prompt(task, runs, text, paths, mark)

    def _assignment(self, errand: Errand, prompt: str, place: SlotPlace) -> Assignment:
        return Assignment(
            flow=self.state.flow,
            step=self.launch.step,
            task=None,
            attempt=self.launch.attempt,
            base=self.task.commit,
            branch=branch_ref(self.state.flow, self.launch.step, None),
            intent=prompt,
            slot=place.path,
            folder=place.folder,
            timeout=errand.timeout or DEFAULT_TIMEOUT,
            guard=place.guard,
            schema=reviews.SCHEMA,
            profile="verification",
            usd=errand.usd,
        )

    def _looked_after(self, place: SlotPlace, refs: dict[RefName, Oid]) -> tuple[str, ...]:
        """Returns what a reviewer changed; it is kept on a ref."""
        who = self.context.identity
        message = f"{self.launch.step}: attempt {self.launch.attempt}\n\nWhat the reviewer changed.\n"
        author = Signature(who.name, who.email, now(), who.tz)
        captured = place.capture(self.task.commit, message, author)
        found = intrusion(self.context, self.task.commit, captured, refs, self.state)
        found = found or place.violation()
        if found is not None and captured.result != self.task.commit:
            keep(self.context.repo, ref_of(self._occupant()), captured.result)
        return () if found is None else found.lines

    def _occupant(self) -> Occupant:
        return Occupant(self.state.flow, self.launch.step, None, self.launch.attempt)


def _run_of(command: str, ended: Exit) -> CommandRun:
    match ended:
        case Exited(code=0):
            return CommandRun(command, "passed", exit_code=0)
        case Exited(code=code) if code == CANNOT_TELL:
            return CommandRun(command, "could_not_run", "says that it cannot tell (125)", code, again=True)
        case Exited(code=code) if code in NOT_THERE:
            return CommandRun(command, "could_not_run", f"cannot be run (exit code {code})", code)
        case Exited(code=code) if code in SIGNALLED:
            why = f"was ended by signal {code - 128}"
            return CommandRun(command, "could_not_run", why, code, again=True)
        case Exited(code=code):
            return CommandRun(command, "failed", f"exited with {code}", code)
        case Signalled(signal=number):
            return CommandRun(command, "could_not_run", f"was ended by signal {number}", again=True)
        case TimedOut(after=after):
            return CommandRun(command, "could_not_run", f"took more than {after:g} s", again=True)
        case Unstartable(reason=reason):
            return CommandRun(command, "could_not_run", f"could not be started: {reason}")


def _tail(ended: Exit) -> str:
    if isinstance(ended, Unstartable):
        return ""
    both = "\n".join(text for text in (plain_text(ended.tail), plain_text(ended.errors)) if text.strip())
    return both[-reviews.TAIL :]


def _heard(told: AgentOutcome, intruded: tuple[str, ...]) -> Heard:
    match told:
        case Finished(output=output):
            return Said(output, intruded)
        case AgentFailed(reason=reason, exit_code=0):
            # It came to its end, and what it returned cannot be read.
            return Unintelligible(reason, intruded)
        case AgentFailed(reason=reason):
            return Silent(reason, again=True)
        case AgentTimedOut(after=after):
            return Silent(f"the reviewer was still at work after {after:g} s", again=True)
        case AgentLimited(reason=reason, after=wait):
            return Silent(reason, again=True, after=wait)
        case AgentSpent(reason=reason) | AgentUnstartable(reason=reason):
            return Silent(reason, again=False)
