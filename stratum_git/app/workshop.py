"""Gets ready what a run works with: agents, slots, threads, somebody to commit as."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from stratum_git.agents.base import AgentSpec
from stratum_git.agents.kinds import agent_of
from stratum_git.agents.secrets import secrets_of
from stratum_git.app.agent_settings import agent_option
from stratum_git.app.config import Config, read_config
from stratum_git.app.drivers import drivers_of
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.dispatch.clock import local_offset
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.ladder import Ladder
from stratum_git.dispatch.pace import Pace
from stratum_git.git.aftermath import mend_after_boot
from stratum_git.git.fence import Fence
from stratum_git.git.objects import Signature
from stratum_git.git.pack_writer import RunWriter
from stratum_git.git.process import trust
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import Repository, identity
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.slots.building import ladder_of
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.pool import SlotPool
from stratum_git.store.resolutions import Resolutions


def signature(repo: Repository) -> Signature:
    """Returns who commits here, at the epoch; whoever uses it fills in the time."""
    who = identity(repo)
    return Signature(who.name, who.email, 0.0, local_offset())


def make_context(around: Surroundings, repo: Repository, agents: Sequence[str]) -> Context:
    """Returns what a run works with; *agents* are options NAME=COMMAND, or NAME=KIND."""
    mend_after_boot(repo)
    config = read_config(repo.root)
    # Before anybody else is at work here: what agents add to the repository's settings is not started.
    trust(repo.common_dir, repo.root)
    folders = folders_of(around, repo, config)
    # Where a slot's branch starts is known again from the flow, should a power cut take it.
    branches = RefSession(repo, "stratum-git", durable=False)
    writer = RunWriter(repo, durable=True)
    trees = TreeReader(repo, writer.uncover)
    specs = _specs(config, agents)
    merger = TreeMerger(trees, writer)
    secrets = secrets_of(specs.values(), around.environment)
    return Context(
        repo=repo,
        writer=writer,
        merger=merger,
        identity=signature(repo),
        folders=folders,
        pool=_pool(repo, folders, config, branches, trees),
        agents={name: agent_of(spec, around.environment, secrets) for name, spec in specs.items()},
        environment=around.environment,
        fence=Fence(repo, folders.fence),
        secrets=secrets,
        holder=f"stratum-git run, process {os.getpid()}",
        # More at once would only wait for each other: for the processors, and for the interpreter's lock.
        git_limit=trio.CapacityLimiter(max(4, os.cpu_count() or 1)),
        owner_limit=trio.CapacityLimiter(1),
        ladder=Ladder(repo, merger, Resolutions(repo, trees), folders, drivers_of(around, repo, config)),
        radar=Pace() if config.radar else None,
    )


def _pool(
    repo: Repository, folders: StateFolders, config: Config, refs: RefSession, trees: TreeReader
) -> SlotPool:
    def tell(text: str) -> None:
        # A run has these lines told where its own are.
        pool.tell(text)

    ladder = ladder_of(repo, folders, forced=config.slots_rung, trees=trees, tell=tell)
    pool = SlotPool(
        repo, folders, keep=config.slots_keep, refs=refs, trees=trees, ladder=ladder, background=True
    )
    return pool


def _specs(config: Config, options: Sequence[str]) -> dict[str, AgentSpec]:
    specs: dict[str, AgentSpec] = dict(config.agents)
    for option in options:
        spec = agent_option(option)
        specs[spec.name] = spec
    return specs
