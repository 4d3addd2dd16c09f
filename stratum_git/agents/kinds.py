"""Which agent is behind a name: the one place that knows all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from stratum_git.agents.api import ApiAgent
from stratum_git.agents.base import Agent, AgentSpec
from stratum_git.agents.claude import ClaudeAgent
from stratum_git.agents.codex import CodexAgent
from stratum_git.agents.command import CommandAgent
from stratum_git.agents.opencode import OpencodeAgent
from stratum_git.agents.secrets import NONE, Secrets


def agent_of(spec: AgentSpec, environment: Mapping[str, str], hide: Secrets = NONE) -> Agent:
    """Returns the agent that *spec* describes, in the caller's *environment*."""
    match spec.kind:
        case "command":
            return CommandAgent(spec, environment, hide)
        case "claude":
            return ClaudeAgent(spec, environment, hide)
        case "codex":
            return CodexAgent(spec, environment, hide)
        case "opencode":
            return OpencodeAgent(spec, environment, hide)
        case "api":
            return ApiAgent(spec, environment, hide)
        case other:
            assert_never(other)
