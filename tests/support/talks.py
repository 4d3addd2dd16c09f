"""Sessions in a scratch repository with scripted agents, through the real engine, dispatcher and git."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from stratum_git.agents.base import Agent
from stratum_git.agents.scripted import ScriptedAgent
from stratum_git.app import running
from stratum_git.app.running import Handle
from stratum_git.app.sessions import branch_of, spec_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context, signature
from stratum_git.core.engine import advance, begin
from stratum_git.core.sessions import PROMPT, STEP, current
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Journal
from stratum_git.dispatch.notices import Notice
from stratum_git.git.refs import tip_nowait
from stratum_git.model.ids import FlowId, Oid
from stratum_git.model.messages import Event, Opened, Resumed, Started
from stratum_git.model.sessions import Continued, Session, SessionClosed, SessionTerms, SessionTurn
from stratum_git.model.state import FlowState
from stratum_git.slots.lodgers import slot_of
from stratum_git.store.flows import Entry, FlowLog, Stored, load
from tests.support.flows import Play
from tests.support.repos import ScratchRepo

FIRST = FlowId("session-1")


@dataclass
class Talk:
    """A session, and the agent that plays in it. Nobody is at it between two calls."""

    scratch: ScratchRepo
    play: Play
    flow: FlowId = FIRST
    notices: list[Notice] = field(default_factory=list)

    async def begin(self, prompt: str, **terms: Any) -> SessionTurn:
        """Does the first turn."""
        self.open(prompt, SessionTerms("default", **terms))
        return await self.run()

    async def say(self, message: str, note: str = "", handle: Handle | None = None) -> SessionTurn:
        """Does another turn."""
        state = self.state
        last = current(self.session)
        tip = tip_nowait(self._around.repository(), state.target)
        base = (tip or state.base) if last.status == "done" else last.base or state.base
        self.record(Continued(now(), "tess", STEP, message, base, note))
        return await self.run(handle)

    async def run(self, handle: Handle | None = None) -> SessionTurn:
        """Runs the session until it rests, as ``stratum-git resume`` does."""
        context = self._context()
        stored, spec = load(context.repo, self.flow)
        with FlowLog(context.repo, context.writer, signature(context.repo), spec) as log:
            first = (Resumed(now(), "tess"),)
            journal = Journal(context.repo, log, stored)
            await running._take_up(context, journal, self.notices.append, handle or Handle(), first)
        context.close()
        return current(self.session)

    def open(self, prompt: str, terms: SessionTerms) -> None:
        """Records the beginning, with the step opened, and runs nothing."""
        spec = spec_of("session", terms.agent)
        program = running.check_spec(spec, None)
        context = self._context()
        base = Oid(self.scratch.head())
        target = branch_of(self.flow)
        started = Started(now(), "tess", self.flow, "session", {PROMPT: prompt}, base, target, session=terms)
        state, effects = begin(program, started)
        entries = [Entry(started, state, effects)]
        opened = Opened(now(), "tess", STEP, base, target)
        entries.append(Entry(opened, *advance(state, opened)))
        with FlowLog(context.repo, context.writer, signature(context.repo), spec) as log:
            cast("Stored", log.append(self.flow, None, entries))
        context.close()
        self.scratch.git("update-ref", target, base)

    def record(self, *events: Event) -> None:
        """Records what somebody did, and runs nothing."""
        context = self._context()
        stored, spec = load(context.repo, self.flow)
        with FlowLog(context.repo, context.writer, signature(context.repo), spec) as log:
            Journal(context.repo, log, stored).record(events, lambda *_: [])
        context.close()

    def close(self) -> None:
        """Closes the session."""
        self.record(SessionClosed(now(), "tess", "enough"))

    @property
    def state(self) -> FlowState:
        """The flow as the repository has it."""
        return load(self._around.repository(), self.flow)[0].state

    @property
    def session(self) -> Session:
        """The session as the repository has it."""
        found = self.state.book.session
        assert found is not None
        return found

    @property
    def slot(self) -> Path | None:
        """The slot that the session is in."""
        context = self._context()
        found = slot_of(context.folders, self.flow)
        context.close()
        return found

    @property
    def branch(self) -> str:
        """The session's branch."""
        return branch_of(self.flow)

    def subjects(self) -> list[str]:
        """The subjects of the commits that the turns made, oldest first."""
        return self.scratch.git("log", "--reverse", "--format=%s", f"HEAD..{self.branch}").splitlines()

    def files(self) -> Mapping[str, str]:
        """The files of the session's branch."""
        names = self.scratch.files(self.branch)
        return {name: self.scratch.show(f"{self.branch}:{name}") for name in names}

    def context(self) -> Context:
        """What work in the repository is done with; to be closed."""
        return self._context()

    @property
    def _around(self) -> Surroundings:
        return Surroundings(self.scratch.path, dict(os.environ))

    def _context(self) -> Context:
        agents: dict[str, Agent] = {"default": ScriptedAgent("default", self.play)}
        context = make_context(self._around, self._around.repository(), ())
        return dataclasses.replace(context, agents=agents)
