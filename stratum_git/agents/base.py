"""What an agent is: somebody who takes an assignment, works in its slot, and says how it ended.

What an agent says is never taken for the result: git's facts are. Its output is what later steps read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, TypeAlias

from stratum_git.model.ids import Hooks, Json, Oid

DRIVER_TIMEOUT = 30.0
"""Seconds that a merge driver has for one file. Mergiraf itself gives up after ten."""


AgentKind: TypeAlias = Literal["command", "claude", "codex", "opencode", "api"]
"""What stands behind an agent: any command, a client whose own words are known, or a model."""
Profile: TypeAlias = Literal["general", "verification"]
"""What an agent may do: work, or only read and run what looks. What it did is looked at afterwards, too."""


class Guard(Protocol):
    """What stands between an agent's git and what is not the agent's."""

    def __call__(self, environment: Mapping[str, str], hooks: Hooks = "inherit") -> Mapping[str, str]:
        """Returns *environment* with what it takes added."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as it is configured: the words of its command, seconds per attempt, its own environment.

    ``hooks`` are the user's git hooks that run for it, ``fence`` says whether its git is kept to its branch,
    ``secrets`` are the variables whose values must not be written down.

    Of the kinds that are known by name, ``command`` is the program and words to put behind it (none: the
    kind's own program, looked up in ``PATH``), ``tools`` what it may use (none: what the profile allows),
    ``mcp_config`` a file with its own MCP servers (none: it gets none), ``turns`` and ``usd`` limits of one
    attempt. ``resumes`` says whether a retry goes on with the conversation of the attempt before.
    """

    name: str
    command: tuple[str, ...]
    timeout: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = "inherit"
    fence: bool = True
    secrets: tuple[str, ...] = ()
    kind: AgentKind = "command"
    model: str | None = None
    profile: Profile = "general"
    tools: tuple[str, ...] = ()
    mcp_config: str | None = None
    turns: int | None = None
    usd: float | None = None
    resumes: bool = True


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

    ``session`` is the conversation to go on with, by the id that an earlier attempt told in its usage, and
    ``followup`` what to say there in place of ``intent``; an agent that has no conversations says ``intent``.
    ``schema`` is the JSON Schema of the object that is wanted, ``model`` and ``profile`` are said by the step
    or call and beat the agent's own, ``usd`` and ``tokens`` are what the attempt may cost at most. ``meter``
    is told what it has cost so far, in the words of ``Finished.usage``, whenever that is known.
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
    session: str | None = None
    followup: str | None = None
    schema: Json | None = None
    model: str | None = None
    profile: Profile | None = None
    usd: float | None = None
    tokens: int | None = None
    meter: Callable[[Mapping[str, Json]], None] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The agent says that it is done.

    ``output`` is the JSON object that it returned, if any, ``text_tail`` the end of what it wrote or said
    last, as plain text. ``usage`` is what it told of its costs: ``usd`` a number, ``tokens`` all of them in
    and out, ``input_tokens``, ``output_tokens``, ``turns``, ``model``, ``session_id``; each where known.
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
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentTimedOut:
    """The agent was at work at its deadline, and was ended. ``after`` is in seconds."""

    after: float
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentLimited:
    """Whoever serves the model has no room now: the attempt has not failed, and is to be tried again.

    ``after`` are the seconds to wait, where that was told. What it had done lies in the slot; ``usage`` has
    the ``session_id`` to go on with, if any.
    """

    reason: str
    after: float | None = None
    seconds: float = 0.0
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentSpent:
    """The agent was ended, or ended itself, because its attempt may not cost more."""

    reason: str
    seconds: float = 0.0
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentUnstartable:
    """The agent could not be started at all; another attempt would not start either."""

    reason: str


Outcome: TypeAlias = Finished | AgentFailed | AgentTimedOut | AgentLimited | AgentSpent | AgentUnstartable


class Agent(Protocol):
    """Does attempts. Cancelling ``run`` ends whatever it started before the cancellation goes on."""

    @property
    def name(self) -> str:
        """Returns the name that specs use."""

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt; tells *on_line* what it is at."""

    def problem(self) -> str | None:
        """Returns why it cannot do any attempt, before anything is started; ``None`` when it may."""
