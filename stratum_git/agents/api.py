"""A model behind an API as an agent: it works with tools of ours, and nothing else of it runs here.

The library that speaks to it is an extra, ``stratum-git[api]``, and takes a second to load: that is done when
the first attempt begins. The key is for the model's server alone: neither the log nor the commands get it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec

import trio

from stratum_git.agents.base import AgentSpec, AgentUnstartable, Assignment, Outcome
from stratum_git.agents.command import Program
from stratum_git.agents.nested import NESTED
from stratum_git.agents.prices import price_of
from stratum_git.agents.secrets import NONE, Secrets, secrets_of, too_short

KEY = "ANTHROPIC_API_KEY"
PLACE = "ANTHROPIC_BASE_URL"
MODEL = "ANTHROPIC_MODEL"
"""Which model it is where neither the settings nor the step say so; other clients of the API know it too."""
LIBRARY = "anthropic"
TOOLS = frozenset({"read_file", "list_files", "search", "write_file", "edit_file", "run"})
EXTRA = "pip install 'stratum-git[api]'"


@dataclass(frozen=True, slots=True)
class ApiAgent:
    """Has a model work. ``environment`` is the caller's; ``hide`` are secrets, as with any command."""

    spec: AgentSpec
    environment: Mapping[str, str]
    hide: Secrets = NONE

    @property
    def name(self) -> str:
        """Returns the name that specs use."""
        return self.spec.name

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt. Raises HostError when this machine cannot."""
        problem = self._unready(assignment)
        if problem is not None:
            return AgentUnstartable(problem)
        # In a thread: others have work to do meanwhile.
        await trio.to_thread.run_sync(_load)
        from stratum_git.agents.api_loop import attempt
        from stratum_git.agents.messages import MessagesApi

        env = {**self.environment, **self.spec.env, **assignment.env}
        async with MessagesApi(env[KEY].strip(), env.get(PLACE)) as model:
            wanted = assignment.model or self.spec.model or env[MODEL]
            return await attempt(self._program(), replace(assignment, model=wanted), on_line, model)

    def problem(self) -> str | None:
        """Returns why it cannot do any attempt, before anything is started."""
        if too_short(self._keyed(), self.environment):
            return f"a secret of the agent {self.name} is too short to be told from other words"
        if self.spec.usd is not None and self.spec.model is not None and price_of(self.spec.model) is None:
            return f"the agent {self.name}: the price of {self.spec.model} is not known: take out its usd"
        strange = sorted(set(self.spec.tools) - TOOLS)
        if strange:
            known = ", ".join(sorted(TOOLS))
            return f"the agent {self.name} has no tool {strange[0]}: a model behind an API has {known}"
        if self.spec.mcp_config is not None:
            return (
                f"the agent {self.name} is a model behind an API: it has no MCP servers, take out mcp_config"
            )
        return self._unready(None)

    def _unready(self, assignment: Assignment | None) -> str | None:
        env = {**self.environment, **self.spec.env, **(assignment.env if assignment is not None else {})}
        if not env.get(KEY, "").strip():
            return f"the agent {self.name} is a model behind an API, and {KEY} is not set"
        if find_spec(LIBRARY) is None:
            return f"the agent {self.name} needs the library {LIBRARY}: {EXTRA}"
        if not (self.spec.model or env.get(MODEL) or (assignment is not None and assignment.model)):
            return f"the agent {self.name} is a model behind an API, and nobody says which: give it a model"
        return None

    def _keyed(self) -> AgentSpec:
        """Returns the settings with the key as a secret among others."""
        return replace(self.spec, secrets=tuple(dict.fromkeys((*self.spec.secrets, KEY))))

    def _program(self) -> Program:
        """Returns how its commands are started: without the key, which is hidden wherever it comes up."""
        hide = self.hide | secrets_of([self._keyed()], self.environment)
        env = {name: value for name, value in self.spec.env.items() if name != KEY}
        return Program(replace(self.spec, env=env), self.environment, hide, NESTED | {KEY})


def _load() -> None:
    from stratum_git.agents import api_loop, messages  # noqa: F401 - whoever asks for them next has them
