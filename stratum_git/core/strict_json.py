"""Reads JSON in the strict sense, and no deeper than anything here can handle.

A name given twice, ``NaN``, ``1e999`` or half a character is refused, since whoever reads it later may take
it for something else. What is nested too deep could be read, and then not be written again.
"""

from __future__ import annotations

import json
import math

from stratum_git.model.ids import Json

DEPTH = 100
"""Lists and objects in each other. Every part of the program can handle some more."""


def read_json(text: str) -> Json:
    """Returns the value of *text*; raises ValueError when it is not strict JSON, or nested too deep."""
    try:
        value: Json = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_twins
        )
        if "\\u" in text:
            # An escape may stand for half a character; that cannot be written as UTF-8.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError(_deep()) from error
    # Few brackets cannot nest deep, and to count them is quicker than to look into the value.
    if text.count("[") + text.count("{") > DEPTH and is_deep(value):
        raise ValueError(_deep())
    return value


def is_deep(value: object) -> bool:
    """Returns whether a value is nested deeper than it may be. It takes no recursion to find out."""
    level = [value]
    for _ in range(DEPTH):
        level = [item for at in level if isinstance(at, dict | list) for item in _items(at)]
        if not level:
            return False
    return True


def _items(at: dict[str, object] | list[object]) -> list[object]:
    return list(at.values()) if isinstance(at, dict) else at


def _deep() -> str:
    return f"it is nested deeper than {DEPTH}"


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON's")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _without_twins(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the name {json.dumps(name)} is given twice")
        made[name] = value
    return made
