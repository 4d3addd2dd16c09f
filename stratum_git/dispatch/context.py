"""What a run works with: the repository, the slots, the agents, and the limits. Made once, by ``app``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import trio

from stratum_git.agents.base import Agent
from stratum_git.agents.secrets import Secrets
from stratum_git.dispatch.ladder import Ladder
from stratum_git.dispatch.pace import Pace
from stratum_git.errors import UserError
from stratum_git.git.fence import Fence
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.spec import Dispatch, Step, Task
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.pool import SlotPool

T = TypeVar("T")

DEFAULT_AGENT = "default"
NOBODY = "nobody"
"""The agent of a verification by commands alone."""
DEFAULT_TIMEOUT = 3600.0
"""Seconds an attempt may take when neither task, step nor agent says anything else."""


class UnknownAgentError(UserError):
    """A step or task names an agent that is not configured."""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a run."""

    repo: Repository
    writer: ObjectWriter
    merger: TreeMerger
    identity: Signature
    folders: StateFolders
    pool: SlotPool
    agents: Mapping[str, Agent]
    environment: Mapping[str, str]
    fence: Fence
    secrets: Secrets
    holder: str
    """Who runs the flow, in words: for leases and the history."""
    git_limit: trio.CapacityLimiter
    """Threads that may run git at once."""
    owner_limit: trio.CapacityLimiter
    """The owner's own thread."""
    ladder: Ladder
    """What merges results, and resolves what git cannot."""
    radar: Pace | None = None
    """How often to look which attempts collide; ``None`` for never."""

    def close(self) -> None:
        """Ends the gits that wait for questions, and what is done in the background."""
        self.pool.close()
        self.merger.trees.close()
        if self.pool.refs is not None:
            self.pool.refs.close()

    async def record(self, work: Callable[[], T]) -> T:
        """Runs the owner's work in a thread of its own: everybody waits for it, so it waits for nobody."""
        return await trio.to_thread.run_sync(work, limiter=self.owner_limit)

    async def git(self, work: Callable[[], T]) -> T:
        """Runs blocking git work in a thread. Git work is short; it is finished, not abandoned, on cancel."""
        return await trio.to_thread.run_sync(work, limiter=self.git_limit)

    def agent_for(self, step: Step, task: Task | None, *, resolves: bool = False) -> Agent:
        """Returns who does a step or task, or *resolves* its conflict; raises UnknownAgentError."""
        name = resolver_name(step, task) if resolves else agent_name(step, task)
        return find_agent(self.agents, name, step)


def agent_name(step: Step, task: Task | None) -> str:
    """Returns the name of who does a step or task: the task's own agent, the step's, or the default."""
    return (task.agent if task is not None else None) or step.agent or DEFAULT_AGENT


def resolver_name(step: Step, task: Task | None) -> str:
    """Returns the name of who resolves a task's conflict: the step's resolver, or who does the task."""
    named = step.work.resolver if isinstance(step.work, Dispatch) else None
    return named or agent_name(step, task)


def find_agent(agents: Mapping[str, Agent], name: str, step: Step) -> Agent:
    """Returns the agent called *name*; raises UnknownAgentError."""
    if name not in agents:
        known = ", ".join(sorted(agents)) or "none"
        raise UnknownAgentError(
            f"step {step.id} wants the agent {name}, which is not configured (configured: {known})",
            hint=f"add it: --agent {name}=COMMAND, or `agents: {{{name}: {{command: [...]}}}}` "
            "in .stratum/config.yaml",
        )
    return agents[name]
