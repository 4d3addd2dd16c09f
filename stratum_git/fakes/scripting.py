"""What a scripted model says, and when: lanes, turns, and templates that take values from tools' answers.

A script is JSON::

    {"lanes": [{"name": "worker", "match": {"first_user": "WORKER"}, "turns": [...]},
               {"name": "main", "turns": [TURN, TURN, ...], "mode": "since_prompt", "end": TURN}],
     "side": TURN}

or, with one lane, ``{"turns": [...]}`` or only the list. The first lane answers whose ``match`` holds;
without one it holds for every request that has tools. What no lane answers (titles, summaries) gets ``side``.

``match`` and ``when``: ``first_user``, ``last_prompt``, ``last_user_text``, ``last_tool_result``,
``any_tool_result``, ``system``, ``model``, ``all_text`` are regular expressions that must be found;
``has_tool`` is a name, ``has_tools`` and ``is_error`` are booleans, ``turns`` is how often the model has
spoken, ``not`` has conditions inside.

TURN is a text, a list of blocks, or an object: ``content`` (blocks) or ``text`` or ``tool`` with ``input``;
``usage``, ``stop_reason``; ``delay`` (seconds before), ``pause`` (seconds between events), ``touch`` (a file
that is made when it is asked), ``until`` (a file that must be there before it is answered), ``hang`` (never
answers), ``cut_after`` (events, then the connection ends), ``error`` (``status type message headers``). With
``when`` a turn is taken whenever that holds, before all that go by number; ``times`` says how often a turn is
taken, ``then`` what stands in its place afterwards. A block is a text, ``{"type": "text", "text"}`` or
``{"type": "tool_use", "name", "input"}``.

Turns go by ``mode``: ``since_prompt`` by how often the model has spoken since a person did, ``total`` in the
whole conversation, ``sequential`` by how often the lane was asked. After the last comes ``end``.

In any string ``{{last_tool_result}}``, ``{{re:PATTERN}}`` (its first group, in the last answers of tools),
``{{reall:PATTERN}}`` (in everything) and ``{{at:tasks.0.path}}`` (in the last answer that is JSON and has it)
are replaced. A string that is ``{{json:PATTERN}}`` or ``{{at:...}}`` as a whole becomes the JSON value. What
is not found is an error of the script, and told as one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stratum_git.errors import UserError
from stratum_git.fakes.conversation import Conversation

Turn: TypeAlias = "str | Sequence[Any] | Mapping[str, Any]"
Play: TypeAlias = Callable[[Conversation], Turn]
"""A lane that is a function: only for those who start the fake in their own process."""

EXHAUSTED = "The script has no more turns."
TEXTS = frozenset(
    {"first_user", "last_prompt", "last_user_text", "last_tool_result", "system", "model", "all_text"}
)
CONDITIONS = TEXTS | {"any_tool_result", "has_tool", "has_tools", "is_error", "turns", "not"}
LANE = frozenset({"name", "match", "turns", "mode", "end", "play"})
MODES = frozenset({"since_prompt", "total", "sequential"})
SAYS = frozenset({"content", "text", "tool", "input", "usage", "stop_reason", "error"})
TIMING = frozenset({"delay", "pause", "touch", "until", "hang", "cut_after"})
TURN = SAYS | TIMING | {"when", "times", "then"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request. ``turn`` is its place in the lane, -1 outside of the turns."""

    lane: str
    turn: int
    blocks: Sequence[Mapping[str, Any]]
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> bool:
        """Returns whether a tool is to be used."""
        return any(block["type"] == "tool_use" for block in self.blocks)

    @property
    def error(self) -> Mapping[str, Any] | None:
        """Returns the error that is answered, if it is one."""
        found: Mapping[str, Any] | None = self.said.get("error")
        return found


class Script:
    """Chooses what is said. It may be asked by several threads."""

    def __init__(self, lanes: Sequence[Mapping[str, Any]], side: Turn) -> None:
        self._lanes = lanes
        self._side = side
        self._taken: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, value: Any) -> Script:
        """Returns the script that *value* says; raises ``UserError`` with what is wrong in it."""
        if callable(value):
            value = {"lanes": [{"play": value}]}
        whole = {"turns": value} if isinstance(value, list | tuple) else value
        if not isinstance(whole, Mapping):
            raise UserError("a script is a list of turns, or an object with lanes")
        if "lanes" not in whole:
            alone = {key: found for key, found in whole.items() if key != "side"}
            whole = {"lanes": [{"name": "main", **alone}], "side": whole.get("side", "ok")}
        _known(whole, {"lanes", "side"}, "script")
        lanes = [{"name": f"lane-{n}", **lane} for n, lane in enumerate(whole["lanes"])]
        for lane in lanes:
            _check_lane(lane)
        return cls(lanes, whole.get("side", "ok"))

    def reply(self, told: Conversation) -> Reply:
        """Returns what is said to *told*; raises ``UserError`` when a template finds nothing."""
        with self._lock:
            lane, number, turn = self._choose(told)
        whole = _whole(turn)
        blocks = [_filled(_block(one), told) for one in whole["content"]]
        return Reply(lane, number, blocks, whole)

    def _choose(self, told: Conversation) -> tuple[str, int, Turn]:
        for lane in self._lanes:
            if holds(lane.get("match", {"has_tools": True}), told):
                return self._in_lane(lane, told)
        return "side", -1, self._side

    def _in_lane(self, lane: Mapping[str, Any], told: Conversation) -> tuple[str, int, Turn]:
        name = lane["name"]
        if "play" in lane:
            return name, told.turns, _played(name, lane["play"], told)
        counted = []
        for number, turn in enumerate(lane["turns"]):
            when = turn.get("when") if isinstance(turn, Mapping) else None
            if when is None:
                counted.append((number, turn))
            elif holds(when, told) and (chosen := self._limited(name, number, turn)) is not None:
                return name, number, chosen
        at = self._place(lane, told)
        if at >= len(counted):
            return name, -1, lane.get("end", EXHAUSTED)
        number, turn = counted[at]
        chosen = self._limited(name, number, turn)
        return name, number, EXHAUSTED if chosen is None else chosen

    def _place(self, lane: Mapping[str, Any], told: Conversation) -> int:
        match lane.get("mode", "since_prompt"):
            case "total":
                return told.turns
            case "sequential":
                return self._take(lane["name"], -1) - 1
            case _:
                return told.turns_since_prompt

    def _limited(self, lane: str, number: int, turn: Turn) -> Turn | None:
        if not isinstance(turn, Mapping) or "times" not in turn:
            return turn
        if self._take(lane, number) <= turn["times"]:
            return turn
        after: Turn | None = turn.get("then")
        return after

    def _take(self, lane: str, number: int) -> int:
        self._taken[lane, number] = self._taken.get((lane, number), 0) + 1
        return self._taken[lane, number]


def _played(lane: str, play: Play, told: Conversation) -> Turn:
    """A function that fails is told as any error of a script: a client would only see that nobody answers."""
    try:
        return play(told)
    except Exception as error:
        raise UserError(f"lane {lane}: {error!r}") from error


def holds(when: Mapping[str, Any], told: Conversation) -> bool:
    """Returns whether every condition of *when* is met."""
    return all(_met(name, wanted, told) for name, wanted in when.items())


def _met(name: str, wanted: Any, told: Conversation) -> bool:
    match name:
        case "not":
            return not holds(wanted, told)
        case "has_tool":
            return any(wanted == tool for tool in told.tools)
        case "has_tools":
            return bool(told.tools) == bool(wanted)
        case "is_error":
            return any(one.is_error for one in told.last_results) == bool(wanted)
        case "turns":
            return bool(told.turns == wanted)
        case "any_tool_result":
            return any(re.search(wanted, one.text, re.DOTALL) for one in told.results)
        case _:
            return re.search(wanted, getattr(told, name), re.DOTALL) is not None


def _check_lane(lane: Mapping[str, Any]) -> None:
    where = f"lane {lane['name']}"
    _known(lane, LANE, where)
    _check_conditions(lane.get("match", {}), where)
    if lane.get("mode", "since_prompt") not in MODES:
        raise UserError(f"{where}: the mode is one of {', '.join(sorted(MODES))}")
    if "play" not in lane and not isinstance(lane.get("turns"), list | tuple):
        raise UserError(f"{where}: it needs a list of turns")
    for number, turn in enumerate(lane.get("turns", ())):
        if isinstance(turn, Mapping):
            _known(turn, TURN, f"{where}, turn {number}")
            _check_conditions(turn.get("when", {}), f"{where}, turn {number}")


def _check_conditions(when: Mapping[str, Any], where: str) -> None:
    _known(when, CONDITIONS, where)
    for name in (TEXTS | {"any_tool_result"}) & when.keys():
        try:
            re.compile(when[name])
        except re.error as error:
            raise UserError(f"{where}: {name}: {error}") from error


def _known(value: Mapping[str, Any], names: frozenset[str] | set[str], where: str) -> None:
    if unknown := sorted(value.keys() - names):
        raise UserError(f"{where}: unknown: {', '.join(unknown)}", hint=f"known: {', '.join(sorted(names))}")


def _whole(turn: Turn) -> dict[str, Any]:
    """Returns the turn as an object with a list of blocks as ``content``."""
    if isinstance(turn, str):
        return {"content": [turn]}
    if not isinstance(turn, Mapping):
        return {"content": list(turn)}
    if "content" in turn:
        return dict(turn)
    if "tool" in turn:
        return {
            **turn,
            "content": [{"type": "tool_use", "name": turn["tool"], "input": turn.get("input", {})}],
        }
    return {**turn, "content": [turn["text"]] if "text" in turn else []}


def _block(block: Any) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    return {"input": {}, **block} if block.get("type") == "tool_use" else dict(block)


def _filled(value: Any, told: Conversation) -> Any:
    match value:
        case dict():
            return {key: _filled(one, told) for key, one in value.items()}
        case list():
            return [_filled(one, told) for one in value]
        case str() if found := re.fullmatch(r"\{\{(json:.*|at:[^{}]*)\}\}", value, re.DOTALL):
            return _value(found[1], told)
        case str():
            return re.sub(r"\{\{(.*?)\}\}", lambda found: _words(found[1], told), value, flags=re.DOTALL)
        case _:
            return value


def _value(whole: str, told: Conversation) -> Any:
    kind, _, wanted = whole.partition(":")
    if kind == "json":
        return json.loads(_found(wanted, _answers(told)))
    return _at(wanted, told)


def _at(wanted: str, told: Conversation) -> Any:
    for result in reversed(told.last_results):
        try:
            value = json.loads(result.text)
            for part in wanted.split("."):
                value = value[int(part)] if isinstance(value, list) else value[part]
        except (ValueError, LookupError, TypeError):
            continue
        return value
    raise UserError(f"no tool has just answered JSON with {wanted}")


def _words(wanted: str, told: Conversation) -> str:
    kind, _, pattern = wanted.partition(":")
    match kind:
        case "last_tool_result":
            return told.last_tool_result
        case "re":
            return _found(pattern, _answers(told))
        case "reall":
            return _found(pattern, told.all_text)
        case "at":
            value = _at(pattern, told)
            return value if isinstance(value, str) else json.dumps(value)
        case _:
            return "{{" + wanted + "}}"


def _answers(told: Conversation) -> str:
    return "\n".join(one.text for one in told.last_results)


def _found(pattern: str, text: str) -> str:
    if (found := re.search(pattern, text, re.DOTALL)) is None:
        raise UserError(f"nothing matches {pattern}")
    return found[1] if found.re.groups else found[0]
