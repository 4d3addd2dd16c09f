"""Finds what a run works with: the repository, the settings, the agents, the slots."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from stratum_git.agents.base import Agent, AgentSpec
from stratum_git.agents.command import CommandAgent
from stratum_git.app.config import Config, agent_option, read_config
from stratum_git.dispatch.clock import local_offset
from stratum_git.dispatch.context import Context, agent_name, find_agent
from stratum_git.errors import UserError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import Repository, identity, open_repository
from stratum_git.model.spec import Dispatch, Gate
from stratum_git.model.state import Program
from stratum_git.slots.folders import StateFolders, state_folders
from stratum_git.slots.pool import SlotPool


class AgentMissingError(UserError):
    """An agent's program does not exist."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a command was given: the directory, and the environment."""

    cwd: Path
    environment: Mapping[str, str]

    def repository(self) -> Repository:
        """Returns the repository around the directory."""
        return open_repository(self.cwd)

    def folders(self, repo: Repository, config: Config | None = None) -> StateFolders:
        """Returns where slots and logs of *repo* lie."""
        config = config or read_config(repo.root)
        return state_folders(repo, config.slots_root or self.state_home() / "stratum-git")

    def state_home(self) -> Path:
        """Returns the user's folder for state."""
        named = self.environment.get("XDG_STATE_HOME", "")
        if named.startswith("/"):
            return Path(named)
        return Path(self.environment.get("HOME", "/")) / ".local/state"


def signature(repo: Repository) -> Signature:
    """Returns who commits here, at the epoch; whoever uses it fills in the time."""
    who = identity(repo)
    return Signature(who.name, who.email, 0.0, local_offset())


def make_context(around: Surroundings, repo: Repository, agents: Sequence[str]) -> Context:
    """Returns what a run works with; *agents* are options of the form NAME=COMMAND."""
    config = read_config(repo.root)
    folders = around.folders(repo, config)
    # Where a slot's branch starts is known again from the flow, should a power cut take it.
    branches = RefSession(repo, "stratum-git", durable=False)
    return Context(
        repo=repo,
        writer=ObjectWriter(repo, durable=True),
        identity=signature(repo),
        folders=folders,
        pool=SlotPool(repo, folders, keep=config.slots_keep, refs=branches),
        agents=_agents(config, agents, around.environment),
        environment=around.environment,
        holder=f"stratum-git run, process {os.getpid()}",
        # More at once would only wait for each other: for the processors, and for the interpreter's lock.
        git_limit=trio.CapacityLimiter(max(3, os.cpu_count() or 1)),
        owner_limit=trio.CapacityLimiter(1),
    )


def check_agents(context: Context, program: Program) -> None:
    """Raises UserError when an agent that the flow surely needs is not configured or does not exist."""
    for step in program.flow.steps:
        if isinstance(step.work, Gate) or (isinstance(step.work, Dispatch) and step.agent is None):
            # The tasks may all name agents of their own.
            continue
        agent = find_agent(context.agents, agent_name(step, None), step)
        problem = agent.problem() if isinstance(agent, CommandAgent) else None
        if problem is not None:
            raise AgentMissingError(problem, hint="install it, or name another command with --agent")


def _agents(config: Config, options: Sequence[str], environment: Mapping[str, str]) -> dict[str, Agent]:
    specs: dict[str, AgentSpec] = dict(config.agents)
    for option in options:
        spec = agent_option(option)
        specs[spec.name] = spec
    return {name: CommandAgent(spec, environment) for name, spec in specs.items()}
