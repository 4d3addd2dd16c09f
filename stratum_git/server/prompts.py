"""Prompts: the shipped skills, for a person who picks one. What he gives stands where the skill says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer

from stratum_git.app.skills import shipped_skill, shipped_skills


def register(server: MCPServer[Any]) -> None:
    """Adds a prompt for each skill to a server."""
    for skill in shipped_skills():
        server.prompt(name=skill.name, description=skill.description)(_prompt(skill.name))


def _prompt(name: str) -> Callable[[str], str]:
    def prompt(goal: str) -> str:
        return shipped_skill(name).words(goal)

    return prompt
