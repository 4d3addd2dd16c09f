"""Runs flows in a scratch repository with scripted agents, through the real dispatcher and real git."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from stratum_git.agents.base import Agent, Assignment
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.app import running
from stratum_git.app.running import Handle, RunRequest
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context, signature
from stratum_git.core.engine import begin
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.driver import Driver
from stratum_git.dispatch.journal import Journal
from stratum_git.dispatch.notices import Notice
from stratum_git.model.ids import Json, StepId
from stratum_git.model.state import FannedOut, FlowState
from stratum_git.store.flows import Entry, FlowLog, Stored
from tests.support.repos import ScratchRepo

Play = Callable[[Assignment], Script]


def dispatch_spec(**options: object) -> str:
    """Returns a spec of one dispatch step called build, over the input tasks."""
    lines = "\n".join(f"        {key}: {value}" for key, value in options.items())
    return f"""
version: "0.4"
contracts:
  R: {{ok: {{type: boolean}}}}
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {{task.id}}"
{lines}
"""


@dataclass
class Stage:
    """A scratch repository and what happened in it."""

    scratch: ScratchRepo
    notices: list[Notice] = field(default_factory=list)
    handle: Handle = field(default_factory=Handle)

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.scratch.path, dict(os.environ))

    def prepare(
        self, spec: str, play: Play, inputs: Mapping[str, Json], more: Sequence[Agent] = ()
    ) -> tuple[Driver, Sequence[object]]:
        """Returns a driver that is ready to go, and its first effects."""
        program = running.check_spec(spec, None)
        repo = self.around.repository()
        agents: dict[str, Agent] = {"default": ScriptedAgent("default", play)}
        agents |= {agent.name: agent for agent in more}
        context = dataclasses.replace(make_context(self.around, repo, ()), agents=agents)
        started = running.started(repo, program, dict(inputs), RunRequest(spec))
        log = FlowLog(repo, context.writer, signature(repo), spec)
        state, effects = begin(program, started)
        stored = log.append(started.flow, None, [Entry(started, state, effects)])
        driver = running._driver(
            context, Journal(repo, log, cast("Stored", stored)), self.notices.append, self.handle
        )
        return driver, effects

    async def play(
        self, spec: str, play: Play, tasks: Sequence[Json], more: Sequence[Agent] = ()
    ) -> FlowState:
        """Runs a flow over *tasks* to its end."""
        driver, effects = self.prepare(spec, play, {"tasks": list(tasks)}, more)
        with driver.journal.log, closing(driver.context):
            return await driver.drive(effects)  # type: ignore[arg-type]


def fan(state: FlowState, step: str = "build") -> FannedOut:
    """Returns the tasks of a step."""
    found = fan_of(state.step(StepId(step)))
    assert found is not None, state.step(StepId(step))
    return found


def words(state: FlowState) -> dict[str, str]:
    """Returns what became of each task, in a word."""
    tasks = fan(state)
    return {
        task.id: type(now).__name__.lower() for task, now in zip(tasks.graph.tasks, tasks.tasks, strict=True)
    }


def writes(name: str, text: str = "x\n") -> Script:
    """Returns a script that writes one file."""
    return Script(files={name: text.encode()})
