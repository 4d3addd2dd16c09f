"""Agents of the kinds codex, opencode and api: real clients and the fakes that ship (see ``kinds.py``)."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from stratum_git.agents.base import Agent, AgentKind, AgentSpec
from stratum_git.fakes import codex as fake_codex
from stratum_git.fakes import messages_api, responses_api
from stratum_git.fakes import opencode as fake_opencode
from stratum_git.fakes.loopback import Limits, Loopback
from stratum_git.model.ids import Json
from tests.support.kinds import (
    Ability,
    Casts,
    Kind,
    Play,
    _cast,
    _environment,
    _installed,
    _last_words,
    _use,
)

HAIKU = "claude-haiku-4-5"
MODELS: Mapping[AgentKind, str] = {"opencode": f"anthropic/{HAIKU}", "api": HAIKU}
KEY = "sk-ant-fake-0123456789"
OFFLINE = ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "OPENCODE_DISABLE_MODELS_FETCH")
CODEX = """\
model_provider = "fake"
model = "fake-model"
[model_providers.fake]
name = "fake"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
request_max_retries = 0
stream_max_retries = 0
"""
Turns = Callable[[Play, int, tuple[str, ...], Path], Any]


def _fake(kind: AgentKind, program: ModuleType) -> Callable[[Path], AbstractContextManager[Casts]]:
    def steps(play: Play) -> list[dict[str, Json]]:
        if play.limited is not None:
            said = f"Please try again in {play.limited:g}s."
            return [{"error": 429, "retry_after": play.limited, "message": said}]
        if play.fails:
            return [{"error": 400}]
        found: list[dict[str, Json]] = [{"write": path, "text": text} for path, text in play.writes.items()]
        found += [{"bash": play.runs}] if play.runs else []
        return [*found, {"text": _last_words(play)}]

    @contextmanager
    def stage(place: Path) -> Iterator[Casts]:
        def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
            lanes = [{"resumed": True, "steps": steps(then)}] if then is not None else []
            script = place / "script.json"
            script.write_text(json.dumps({"lanes": [*lanes, {"steps": steps(play)}]}))
            words = (sys.executable, "-P", "-m", program.__name__)
            environment = _environment(place, **{program.SCRIPT: str(script)})
            return _cast(AgentSpec("tester", words, kind=kind, model=MODELS.get(kind)), environment, settings)

        yield cast

    return stage


def _playing(
    serve: Callable[..., AbstractContextManager[Loopback]],
    turns: Turns,
    ready: Callable[[Path, str], tuple[AgentSpec, dict[str, str]]],
) -> Callable[[Path], AbstractContextManager[Casts]]:
    """Returns what stages an agent whose model, behind a fake API, plays."""

    @contextmanager
    def stage(place: Path) -> Iterator[Casts]:
        plays: dict[str, Play] = {}

        def turn(name: str) -> Callable[[Any], Any]:
            return lambda told: turns(plays[name], told.turns_since_prompt, tuple(told.tools), place / "slot")

        def cast(play: Play, then: Play | None = None, **settings: Any) -> Agent:
            plays.update(first=play, then=then or play)
            spec, environment = ready(place, api.url)
            return _cast(spec, environment, settings)

        lanes = [
            {"name": "then", "match": {"has_tools": True, "last_prompt": "FOLLOWUP"}, "play": turn("then")},
            {"name": "first", "match": {"has_tools": True}, "play": turn("first")},
        ]
        with serve({"lanes": lanes}, limits=Limits(watch=os.getpid())) as api:
            yield cast
            assert api.refused == []

    return stage


def _api_turn(play: Play, number: int, tools: tuple[str, ...], slot: Path) -> Any:
    work = [_use("write_file", path=path, content=text) for path, text in play.writes.items()]
    work += [_use("run", command=play.runs)] if play.runs else []
    if play.returns is not None and "submit" in tools:
        said: Any = [{"type": "tool_use", "name": "submit", "input": play.returns}]
    else:
        said = _last_words(play)
    return _fault(play) or (work if number == 0 and work else said)


def _opencode_turn(play: Play, number: int, tools: tuple[str, ...], slot: Path) -> Any:
    work = [_use("write", filePath=str(slot / path), content=text) for path, text in play.writes.items()]
    work += [_use("bash", command=play.runs, description="runs it")] if play.runs else []
    return _fault(play) or (work if number == 0 and work else _last_words(play))


def _codex_turn(play: Play, number: int, tools: tuple[str, ...], slot: Path) -> Any:
    lines = [f"printf %s {shlex.quote(text)} > {path}" for path, text in play.writes.items()]
    lines += [play.runs] if play.runs else []
    work = [_use("exec_command", cmd=line) for line in lines]
    return _fault(play) or (work if number == 0 and work else _last_words(play))


def _fault(play: Play) -> Any:
    if play.limited is not None:
        return {"error": {"status": 429, "headers": {"retry-after": f"{play.limited:g}"}}}
    return {"error": {"status": 400}} if play.fails else None


def _api(place: Path, url: str) -> tuple[AgentSpec, dict[str, str]]:
    environment = _environment(place, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=url)
    return AgentSpec("tester", (), kind="api", model=HAIKU), environment


def _codex(place: Path, url: str) -> tuple[AgentSpec, dict[str, str]]:
    program = _installed("cc_codex", ".bin/codex", "codex")
    environment = _environment(place, OPENAI_API_KEY=KEY)
    home = place / "home" / ".codex"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(CODEX.format(url=url))
    return AgentSpec("tester", (program,), kind="codex"), environment


def _opencode(place: Path, url: str) -> tuple[AgentSpec, dict[str, str]]:
    program = _installed("cc_oc", ".bin/opencode", "opencode")
    environment = _environment(place, **dict.fromkeys(OFFLINE, "1"))
    folder = place / "home" / ".config" / "opencode"
    folder.mkdir(parents=True, exist_ok=True)
    provider = {"anthropic": {"options": {"baseURL": f"{url}/v1", "apiKey": KEY}}}
    (folder / "opencode.json").write_text(json.dumps({"provider": provider}))
    return AgentSpec("tester", (program,), kind="opencode", model=MODELS["opencode"]), environment


MODEL: frozenset[Ability] = frozenset({"talks", "budgeted", "limited", "schemas", "profiles", "meters"})
CODEX_CAN: frozenset[Ability] = frozenset({"starts", "talks", "schemas", "profiles", "meters"})
OPENCODE_CAN: frozenset[Ability] = frozenset({"starts", "talks", "limited", "schemas", "profiles"})
OTHERS: tuple[Kind, ...] = (
    Kind("codex", CODEX_CAN | {"limited"}, _fake("codex", fake_codex)),
    Kind("opencode", OPENCODE_CAN, _fake("opencode", fake_opencode)),
    Kind("api", MODEL, _playing(messages_api.serve, _api_turn, _api)),
)
"""What needs nothing to be installed."""
REAL_OTHERS: tuple[Kind, ...] = (
    # It waits where a server has no room, and does not tell for how long. What it starts has numbers
    # of its own in its sandbox, so by these nobody sees whether it is over: see ``test_codex.py``.
    Kind("codex-real", CODEX_CAN - {"starts"}, _playing(responses_api.serve, _codex_turn, _codex)),
    Kind(
        "opencode-real", OPENCODE_CAN - {"limited"}, _playing(messages_api.serve, _opencode_turn, _opencode)
    ),
)
"""Real clients, with a model that plays."""
