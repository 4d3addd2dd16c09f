"""What an agent is: somebody who takes an assignment, works in its slot, and says how it ended.

What an agent says is never taken for the result: git's facts are. Its output is what later steps read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeAlias

from stratum_git.model.ids import Hooks, Json, Oid

DRIVER_TIMEOUT = 30.0
"""Seconds that a merge driver has for one file. Mergiraf itself gives up after ten."""


class Guard(Protocol):
    """What stands between an agent's git and what is not the agent's."""

    def __call__(self, environment: Mapping[str, str], hooks: Hooks = "inherit") -> Mapping[str, str]:
        """Returns *environment* with what it takes added."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as it is configured: the words of its command, seconds per attempt, its own environment.

    ``hooks`` are the user's git hooks that run for it, ``fence`` says whether its git is kept to its branch,
    ``secrets`` are the variables whose values must not be written down.
    """

    name: str
    command: tuple[str, ...]
    timeout: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = "inherit"
    fence: bool = True
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """A merge driver: its command with ``%A`` and the like, and the patterns of the files that it knows.

    ``asks`` is the command that tells the patterns, of one that says so itself: lines for ``.gitattributes``.
    """

    name: str
    command: tuple[str, ...]
    files: tuple[str, ...] = ()
    timeout: float = DRIVER_TIMEOUT
    asks: tuple[str, ...] = ()
    version: tuple[str, ...] = ()

    def fits(self, path: str) -> bool:
        """Returns whether a pattern is that of *path*: of its name, or of all of it where it has a slash."""
        name = PurePosixPath(path).name
        return any(fnmatchcase(path if "/" in one else name, one) for one in self.files)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt, as an agent sees it.

    ``slot`` is where it works, ``folder`` its own directory outside of it, ``intent`` the whole prompt,
    ``timeout`` seconds, ``env`` what this attempt adds to the agent's environment, ``guard`` the fence.
    """

    flow: str
    step: str
    task: str | None
    attempt: int
    base: Oid
    branch: str | None
    intent: str
    slot: Path
    folder: Path
    timeout: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    guard: Guard | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The agent says that it is done.

    ``output`` is the JSON object that it returned, if any, ``usage`` what it told of its costs, ``text_tail``
    the end of what it wrote, as plain text.
    """

    output: Json = None
    usage: Mapping[str, Json] = field(default_factory=dict)
    text_tail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """The agent says, or its end shows, that it did not succeed. ``exit_code`` is that of a program."""

    reason: str
    exit_code: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentTimedOut:
    """The agent was at work at its deadline, and was ended. ``after`` is in seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class AgentUnstartable:
    """The agent could not be started at all; another attempt would not start either."""

    reason: str


Outcome: TypeAlias = Finished | AgentFailed | AgentTimedOut | AgentUnstartable


class Agent(Protocol):
    """Does attempts. Cancelling ``run`` ends whatever it started before the cancellation goes on."""

    @property
    def name(self) -> str:
        """Returns the name that specs use."""

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt; tells *on_line* what it is at."""
