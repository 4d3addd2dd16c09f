"""Finds the JSON object that a program returned: in a file, or last on its standard output."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stratum_git.model.ids import Json

LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What was returned; ``None`` when nothing was."""

    value: Json


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """Something was returned that is not a JSON object."""

    reason: str


Found: TypeAlias = Answer | BadAnswer


def find_answer(file: Path, stdout: bytes) -> Found:
    """Returns the object in *file*, when that is there and not empty, else the last one on *stdout*."""
    written = _read(file)
    if isinstance(written, BadAnswer):
        return written
    if written.strip():
        return _parsed(written)
    return Answer(last_object(stdout.decode("utf-8", "replace")))


def last_object(text: str) -> Json:
    """Returns the last JSON object in *text* that begins a line; ``None`` when there is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    end = len(text)
    for _ in range(10_000):
        start = text.rfind("{", 0, end)
        if start < 0:
            return None
        end = start
        if text[text.rfind("\n", 0, start) + 1 : start].strip():
            continue
        with contextlib.suppress(ValueError, RecursionError):
            value, _ = decoder.raw_decode(text, start)
            return value if isinstance(value, dict) else None
    return None


def _read(file: Path) -> bytes | BadAnswer:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        return BadAnswer(f"the result file cannot be read: {error.strerror}")
    with os.fdopen(handle, "rb") as opened:
        facts = os.fstat(opened.fileno())
        if not stat.S_ISREG(facts.st_mode):
            return BadAnswer("the result file is not a regular file")
        if facts.st_size > LIMIT:
            return BadAnswer(f"the result file is larger than {LIMIT} bytes")
        return opened.read(LIMIT + 1)


def _parsed(data: bytes) -> Found:
    try:
        value: Json = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return BadAnswer(f"the result file is not JSON: {error}")
    if not isinstance(value, dict):
        return BadAnswer("the result file does not hold a JSON object")
    return Answer(value)


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")
