"""Agents of every kind that do what a test says: real ones, and the fakes that ship.

A test says what happens as ``Play``s, and each kind makes of that what it understands: a script for ``sh``,
turns of a model, the JSON that a fake client plays. Whoever adds a kind adds it here, and it is held to the
same tests (``tests/agents/test_contract.py``).
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from stratum_git.agents.base import Agent, AgentSpec
from stratum_git.agents.kinds import agent_of
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.agents.secrets import secrets_of
from stratum_git.fakes import claude as fake_claude
from stratum_git.fakes.loopback import Limits
from stratum_git.fakes.messages_api import serve
from stratum_git.model.ids import Json

SECRET = "hunter2-and-some-more"
FOLLOWUP = "FOLLOWUP: the tests fail"
HANGS = "echo $$ > pid; exec tail -f /dev/null"

Ability: TypeAlias = Literal[
    "starts",  # is a program of its own
    "talks",  # has conversations that go on, and tells its costs
    "limited",  # tells when whoever serves the model has no room, and for how long
    "budgeted",  # ends where money is spent
    "schemas",  # holds its answer to a schema
    "profiles",  # can be kept from writing
    "meters",  # tells what an answer cost before it does what that asks for
]


@dataclass(frozen=True)
class Play:
    """What happens in one run, in this order. ``fails`` and ``limited`` are ends of their own.

    ``runs`` is a shell command, ``limited`` the seconds that the server of the model says to wait.
    """

    writes: Mapping[str, str] = field(default_factory=dict)
    runs: str = ""
    says: str = "all is done"
    returns: Json = None
    fails: bool = False
    limited: float | None = None


Casts: TypeAlias = Callable[..., Agent]
"""Gives an agent that plays: ``cast(play, then=play of the conversation that goes on, **settings)``."""


@dataclass(frozen=True)
class Kind:
    """A kind of agent. ``stage`` makes ready what it needs in a folder; the slot is ``slot`` in there."""

    name: str
    can: frozenset[Ability]
    stage: Callable[[Path], AbstractContextManager[Casts]]

    def __repr__(self) -> str:
        return self.name


def _environment(place: Path, **more: str) -> dict[str, str]:
    home = place / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **more}


def _cast(spec: AgentSpec, environment: Mapping[str, str], settings: Mapping[str, Any]) -> Agent:
    spec = replace(spec, **settings)
    return agent_of(spec, environment, secrets_of([spec], environment))


@contextmanager
def _command(place: Path) -> Iterator[Casts]:
    def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
        lines = [f"printf %s {shlex.quote(text)} > {path}" for path, text in play.writes.items()]
        lines += [play.runs] if play.runs else []
        lines.append(f"echo {shlex.quote(play.says)}")
        if play.returns is not None:
            lines.append(f"echo {shlex.quote(json.dumps(play.returns))}")
        lines.append(f"exit {3 if play.fails else 0}")
        return _cast(AgentSpec("tester", ("sh", "-c", "\n".join(lines))), _environment(place), settings)

    yield cast


@contextmanager
def _scripted(place: Path) -> Iterator[Casts]:
    def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
        script = Script(
            files={path: text.encode() for path, text in play.writes.items()},
            says=play.says,
            seconds=3600 if play.runs == HANGS else 0,
            output=play.returns,
            fails="no" if play.fails else None,
        )
        return ScriptedAgent("tester", lambda _: script)

    yield cast


@contextmanager
def _fake_claude(place: Path) -> Iterator[Casts]:
    def steps(play: Play) -> list[dict[str, Json]]:
        if play.limited is not None:
            return [{"error": 429, "retry_after": play.limited}]
        if play.fails:
            return [{"error": 400}]
        found: list[dict[str, Json]] = [{"write": path, "text": text} for path, text in play.writes.items()]
        found += [{"bash": play.runs}] if play.runs else []
        found += [{"object": play.returns}] if play.returns is not None else []
        return [*found, {"text": _last_words(play)}]

    def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
        lanes = [{"resumed": True, "steps": steps(then)}] if then is not None else []
        script = place / "script.json"
        script.write_text(json.dumps({"lanes": [*lanes, {"steps": steps(play)}]}))
        words = (sys.executable, "-P", "-m", fake_claude.__name__)
        environment = _environment(place, **{fake_claude.SCRIPT: str(script)})
        return _cast(AgentSpec("tester", words, kind="claude"), environment, settings)

    yield cast


def _claude(folder: str) -> Callable[[Path], AbstractContextManager[Casts]]:
    @contextmanager
    def stage(place: Path) -> Iterator[Casts]:
        program = _installed(folder, "@anthropic-ai/claude-code-linux-x64/claude", "claude")
        plays: dict[str, Play] = {}

        def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
            plays.update(first=play, then=then or play)
            return _cast(AgentSpec("tester", (program,), kind="claude"), environment, settings)

        def turn(name: str) -> Callable[[Any], Any]:
            return lambda told: _turn(plays[name], told.turns_since_prompt, told.tools, place / "slot")

        lanes = [
            {"name": "then", "match": {"has_tools": True, "last_prompt": "FOLLOWUP"}, "play": turn("then")},
            {"name": "first", "match": {"has_tools": True}, "play": turn("first")},
        ]
        with serve({"lanes": lanes}, limits=Limits(watch=os.getpid())) as api:
            environment = _environment(
                place,
                ANTHROPIC_BASE_URL=api.url,
                ANTHROPIC_API_KEY="sk-ant-fake-000",
                HTTPS_PROXY=api.url,
                HTTP_PROXY=api.url,
                NO_PROXY="127.0.0.1,localhost",
                TMPDIR=str(place),
                **dict.fromkeys(QUIET, "1"),
            )
            yield cast
            assert api.refused == []

    return stage


QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_BUG_COMMAND",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
)


def _turn(play: Play, number: int, tools: Sequence[str], slot: Path) -> Any:
    """Returns what a model says that plays: its work in one turn, and then what it returns."""
    if play.limited is not None:
        return {"error": {"status": 429, "headers": {"retry-after": f"{play.limited:g}"}}}
    if play.fails:
        return {"error": {"status": 400}}
    work = [_use("Write", file_path=str(slot / path), content=text) for path, text in play.writes.items()]
    work += [_use("Bash", command=play.runs)] if play.runs else []
    if number == 0 and work:
        return work
    if play.returns is not None and "StructuredOutput" in tools:
        return [{"type": "tool_use", "name": "StructuredOutput", "input": play.returns}]
    return _last_words(play)


def _use(name: str, **given: str) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": given}


def _last_words(play: Play) -> str:
    return play.says if play.returns is None else f"{play.says}\n{json.dumps(play.returns)}\n"


def _installed(folder: str, program: str, name: str) -> str:
    """Returns a client that lies on the shelf, or is in ``PATH``; skips the test where there is none."""
    # The tests' own home may be another one.
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    shelf = Path(os.environ.get("REAL_CLIENTS", home / ".cache/real-clients"))
    path = shelf / folder / "node_modules" / program
    found = str(path) if path.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: neither {path} nor in PATH")
    return found


CLIENT: frozenset[Ability] = frozenset(
    {"starts", "talks", "limited", "budgeted", "schemas", "profiles", "meters"}
)
OURS: tuple[Kind, ...] = (
    Kind("command", frozenset({"starts"}), _command),
    Kind("scripted", frozenset(), _scripted),
    Kind("claude", CLIENT, _fake_claude),
)
"""What needs nothing to be installed."""
REAL: tuple[Kind, ...] = (
    Kind("claude-latest", CLIENT, _claude("cc_latest")),
    Kind("claude-older", CLIENT, _claude("cc")),
)
"""Real clients, with a model that plays."""
